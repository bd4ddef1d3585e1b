-- Every record that was not loaded, with its place, reason and text.
-- grain: file_seq, line, element
-- columns:
--   source    VARCHAR  folder below raw/
--   file_seq  BIGINT   place: the file
--   line      BIGINT   place: the line, from 1
--   element   BIGINT   place: the element of an array in that line, from 1
--   reason    VARCHAR  bad_json, not_object, missing_id, bad_time, future, backdated, bad_total, feature_limit, module_limit, bad_crm_row, bad_csv_row or metadata_conflict
--   detail    VARCHAR  what exactly is wrong; null: it mentions somebody erased
--   raw       VARCHAR  the record as it came; credentials replaced by ***, cut at 64 KiB; null: it mentions somebody erased
SELECT source, file_seq, line, element, reason, detail, raw FROM raw.rejects WHERE waits IS NOT true
UNION ALL
SELECT source, file_seq, line, element, 'metadata_conflict' AS reason, detail, raw FROM core.rejected_updates
