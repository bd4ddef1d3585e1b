-- Every value that was changed so that its record could be loaded.
-- columns:
--   source    VARCHAR  folder below raw/
--   file_seq  BIGINT   place: the file
--   line      BIGINT   place: the line, from 1
--   element   BIGINT   place: the element of an array in that line, from 1
--   what      VARCHAR  which repair, such as metadata_not_object, non_finite_number, invalid_text, name_cut or erased
--   detail    VARCHAR  what was changed
SELECT source, file_seq, line, element, what, detail FROM raw.repairs AS r
-- whole_float is of its file, and only stands at the first of its records.
ANTI JOIN core.rejected_updates AS u ON u.file_seq = r.file_seq AND u.line = r.line AND u.element = r.element
    AND r.what <> 'whole_float'
