-- What was counted of a device's or a gateway's link. subject: 0 device, 1 gateway. span: how long the row's stretch of
-- time is: 0 a minute, 1 an hour, 2 a day, 3 a month; a number stands in one row only: hours become days and days months
-- when they are old. begin_s: seconds since 1970 UTC. body: packed longwave.ns.v1.LinkCounts, one or more end to end,
-- which is their sum. parts: how many.

CREATE TABLE link_count (
	eui     BIGINT  NOT NULL,
	subject BIGINT  NOT NULL,
	span    BIGINT  NOT NULL,
	begin_s BIGINT  NOT NULL,
	parts   BIGINT  NOT NULL,
	body    {bytea} NOT NULL,
	PRIMARY KEY (eui, subject, span, begin_s)
);
CREATE INDEX link_count_by_age ON link_count (span, begin_s);
