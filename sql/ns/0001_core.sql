-- The network-server's own state: what is on the air. One text for PostgreSQL and SQLite.
-- EUIs are the 64-bit number that their printed form says, as a signed integer; times are microseconds since 1970 UTC.
-- body: a packed protobuf message of package longwave.ns.v1. state: the session as network-server/domain/session.c packs it.

CREATE TABLE device_profile (
	id   TEXT    NOT NULL PRIMARY KEY,
	body {bytea} NOT NULL
);

CREATE TABLE gateway (
	gateway_id BIGINT  NOT NULL PRIMARY KEY,
	body       {bytea} NOT NULL,
	last_seen  BIGINT  NOT NULL
);

-- version rises with every write of the session, also when it is removed: what a commit compares and sets.
-- writer: the number of the commit that wrote last; the other statements of that commit act only where it is theirs.
CREATE TABLE device (
	dev_eui           BIGINT  NOT NULL PRIMARY KEY,
	device_profile_id TEXT    NOT NULL,
	body              {bytea} NOT NULL,
	version           BIGINT  NOT NULL,
	writer            BIGINT  NOT NULL,
	dev_addr          BIGINT,
	state             {bytea}
);
CREATE INDEX device_dev_addr ON device (dev_addr);
CREATE INDEX device_by_profile ON device (device_profile_id);

-- item_state: 0 queued, 1 sent and unanswered, 2 waits for the device's acknowledgement.
CREATE TABLE queue_item (
	id            {uuid}  NOT NULL PRIMARY KEY,
	dev_eui       BIGINT  NOT NULL,
	position      BIGINT  NOT NULL,
	body          {bytea} NOT NULL,
	item_state    BIGINT  NOT NULL,
	f_cnt_down    BIGINT  NOT NULL,
	timeout_after BIGINT  NOT NULL
);
CREATE INDEX queue_item_device ON queue_item (dev_eui, position);

-- Events that the application server has not acknowledged. seq rises per origin.
CREATE TABLE outbox (
	origin TEXT    NOT NULL,
	seq    BIGINT  NOT NULL,
	body   {bytea} NOT NULL,
	PRIMARY KEY (origin, seq)
);

-- epoch: how often this origin has started; the upper part of its seq, so that numbers never come twice.
CREATE TABLE origin (
	name  TEXT   NOT NULL PRIMARY KEY,
	epoch BIGINT NOT NULL
);
