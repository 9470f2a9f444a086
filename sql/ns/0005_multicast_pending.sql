-- FPending of an item's frame, fixed with its first transmission: the same bytes in every later one. -1: none yet.
ALTER TABLE multicast_item ADD COLUMN f_pending BIGINT NOT NULL DEFAULT -1;
