-- The claim spans that core.attribution was last computed with; what differs from core.claim_spans is news.
-- grain: kind, key, from_day
-- columns:
--   kind      VARCHAR  as in core.claim_spans
--   key       VARCHAR  as in core.claim_spans
--   target    VARCHAR  as in core.claim_spans
--   from_day  DATE     as in core.claim_spans
--   to_day    DATE     as in core.claim_spans
SELECT s.kind, s.key, s.target, s.from_day, s.to_day
FROM core.claim_spans AS s
