// The documentation site's search. INDEX (index.js): kind, name, text and place of everything there is.
"use strict";
(() => {
  const box = document.querySelector("input[name=q]");
  const told = document.getElementById("told");
  const list = document.getElementById("found");
  const kinds = { table: 0, text: 1, column: 2, file: 3 };

  function show() {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    const hits = [];
    if (words.length) {
      for (const [kind, name, text, place] of INDEX) {
        const low = name.toLowerCase();
        const all = low + " " + text.toLowerCase();
        if (words.every((word) => all.includes(word))) {
          const named = words.every((word) => low.includes(word));
          hits.push({ kind, name, text, place, rank: (named ? 0 : 10) + kinds[kind] });
        }
      }
    }
    hits.sort((a, b) => a.rank - b.rank);
    told.textContent = words.length ? `${hits.length} found` : "Tables, columns, queries and pages.";
    list.replaceChildren(
      ...hits.slice(0, 100).map((hit) => {
        const item = document.createElement("li");
        const link = document.createElement("a");
        const about = document.createElement("span");
        link.href = hit.place;
        link.textContent = hit.name;
        about.className = "hint";
        const at = hit.text.toLowerCase().indexOf(words[0]);
        const from = Math.max(0, at - 60);
        about.textContent = ` ${hit.kind} · ${from ? "…" : ""}${hit.text.slice(from, from + 160)}`;
        item.append(link, about);
        return item;
      }),
    );
  }

  box.value = new URLSearchParams(location.search).get("q") ?? "";
  box.addEventListener("input", show);
  box.form.addEventListener("submit", (event) => {
    event.preventDefault();
    show();
  });
  box.focus();
  show();
})();
