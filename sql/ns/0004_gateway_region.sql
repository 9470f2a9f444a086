-- The region configuration that a gateway's statistics came in last.
ALTER TABLE gateway ADD COLUMN region TEXT NOT NULL DEFAULT '';
