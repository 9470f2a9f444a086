-- The next RJcount1 that the join server accepts: rejoin-requests of type 1 count on over all joins (LoRaWAN 1.1 section 6.2.4.2).
ALTER TABLE device_keys ADD COLUMN rj_count1 BIGINT NOT NULL DEFAULT 0;
