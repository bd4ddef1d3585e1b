"""Makes raw files of an invented API vendor, "Parcelbook", so that the warehouse has something to show.

    python -m dagster_project.standins.sample OUT_DIR --days 14 --companies 16 --events-per-day 400 --seed 7 \\
        --end 2026-11-21

writes `OUT_DIR/{events,actions,companies,users,features,crm/companies,crm/contacts}`. The same arguments
give the same bytes. No company, person, token or address in it is real: domains end in `.example` or
`.test`, addresses are from the ranges kept for documentation, credentials say that they are fake.

Two ways of making it:

* **With stories** (the default): every source and format at least once, in the two dialects that Moesif's
  SDKs speak, and companies that each show one thing (`STORIES`). Unless `clean`, there are also records
  that the warehouse rejects or repairs; `dirt()` lists every one with what is to become of it.
* **Bulk**, when asked for, or when the set is `clean` and larger than `BULK_EVENTS` API calls: for measuring. Plain
  JSON lines in `dt=` folders, written from string templates in constant memory; the companies have no
  stories there.
"""
