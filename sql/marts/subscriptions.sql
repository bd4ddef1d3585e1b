-- One row a subscription: whose it is, its status and period. Of each, the last that an update gave.
-- grain: subscription_id
-- stamp: updated_at
-- erases:
--   company: company_id
--   subscription: subscription_id
-- columns:
--   subscription_id       VARCHAR    as the SDKs sent it
--   company_id            VARCHAR    whose it is
--   status                VARCHAR    as the SDKs sent it, such as active or canceled
--   current_period_start  TIMESTAMP  UTC
--   current_period_end    TIMESTAMP  UTC
--   metadata              JSON       all updates merged; null: never given
--   updated_at            TIMESTAMP  when this row last changed in the warehouse, UTC
-- page: company
SELECT subscription_id, company_id, status, current_period_start, current_period_end, metadata,
       CAST($now AS TIMESTAMP) AS updated_at
FROM core.subscription_metadata
