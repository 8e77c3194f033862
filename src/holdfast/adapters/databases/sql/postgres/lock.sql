-- One installation at a time: CREATE TABLE IF NOT EXISTS does not wait for another that is under way.
SELECT pg_advisory_xact_lock(hashtext('holdfast ledger install'));
