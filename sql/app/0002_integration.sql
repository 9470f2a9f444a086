-- Integrations of applications besides the broker's: what is to be sent where, and the events that wait for it.
-- An event is stored once; each endpoint has a row in integration_delivery for it until it was delivered, or one in
-- integration_dead when it never will be by itself.

-- kind: number of api.IntegrationKind; body: that integration's message of api.ApplicationService as protobuf.
CREATE TABLE integration (
	application_id TEXT   NOT NULL REFERENCES application (id) ON DELETE CASCADE,
	kind           BIGINT NOT NULL,
	version        BIGINT NOT NULL, -- raised by each change
	body           {bytea} NOT NULL,
	created_at     BIGINT NOT NULL,
	updated_at     BIGINT NOT NULL,
	PRIMARY KEY (application_id, kind)
);

-- One for each address of an integration. owner, beat: the replica that serves it, and a number which that replica
-- raises while it lives (no clocks are compared).
CREATE TABLE integration_endpoint (
	id             {id},
	application_id TEXT   NOT NULL,
	kind           BIGINT NOT NULL,
	target         TEXT   NOT NULL,
	owner          TEXT   NOT NULL,
	beat           BIGINT NOT NULL,
	delivered      BIGINT NOT NULL,
	last_ok_at     BIGINT NOT NULL,
	failing_since  BIGINT NOT NULL, -- 0: not failing
	next_at        BIGINT NOT NULL, -- next attempt of one that is failing
	last_error     TEXT   NOT NULL,
	last_error_at  BIGINT NOT NULL,
	FOREIGN KEY (application_id, kind) REFERENCES integration (application_id, kind) ON DELETE CASCADE
);
CREATE INDEX integration_endpoint_of ON integration_endpoint (application_id, kind);

-- The log. (origin, origin_seq) is the network-server's number of the event: what is offered again is not stored again.
-- token: of the transaction that stored it. No reference to the application: one that is deleted meanwhile must not
-- stop the others; its events go with their age.
CREATE TABLE integration_event (
	seq            {id},
	origin         TEXT   NOT NULL,
	origin_seq     BIGINT NOT NULL,
	token          BIGINT NOT NULL,
	application_id TEXT   NOT NULL,
	dev_eui        TEXT   NOT NULL,
	name           TEXT   NOT NULL,
	idempotency    TEXT   NOT NULL,
	received_at    BIGINT NOT NULL,
	body           {bytea} NOT NULL
);
CREATE UNIQUE INDEX integration_event_origin ON integration_event (origin, origin_seq);
CREATE INDEX integration_event_application ON integration_event (application_id, received_at);
CREATE INDEX integration_event_age ON integration_event (received_at);

CREATE TABLE integration_delivery (
	endpoint_id BIGINT NOT NULL REFERENCES integration_endpoint (id) ON DELETE CASCADE,
	event_seq   BIGINT NOT NULL,
	queued_at   BIGINT NOT NULL,
	PRIMARY KEY (endpoint_id, event_seq)
);

CREATE TABLE integration_dead (
	endpoint_id BIGINT NOT NULL REFERENCES integration_endpoint (id) ON DELETE CASCADE,
	event_seq   BIGINT NOT NULL,
	dead_at     BIGINT NOT NULL,
	attempts    BIGINT NOT NULL,
	status      BIGINT NOT NULL, -- of the answer; 0: there was none
	error       TEXT   NOT NULL,
	PRIMARY KEY (endpoint_id, event_seq)
);
CREATE INDEX integration_dead_event ON integration_dead (event_seq);
