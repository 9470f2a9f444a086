-- The app-server's own state: who may do what, and the identity of devices and gateways.
-- One text for PostgreSQL and SQLite. Identifiers are text as printed (UUID, EUI in lower case), times are microseconds
-- since 1970 UTC (0 stands for never), booleans are 0 or 1, tags and variables are compact JSON objects.

CREATE TABLE setting (
	name  TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL
);

CREATE TABLE tenant (
	id                    TEXT   NOT NULL PRIMARY KEY,
	name                  TEXT   NOT NULL,
	description           TEXT   NOT NULL,
	can_have_gateways     BIGINT NOT NULL,
	max_gateway_count     BIGINT NOT NULL,
	max_device_count      BIGINT NOT NULL,
	private_gateways_up   BIGINT NOT NULL,
	private_gateways_down BIGINT NOT NULL,
	tags                  TEXT   NOT NULL,
	dev_addr_prefixes     TEXT   NOT NULL,
	created_at            BIGINT NOT NULL,
	updated_at            BIGINT NOT NULL
);

-- "user" is a word of SQL.
CREATE TABLE account (
	id            TEXT   NOT NULL PRIMARY KEY,
	email         TEXT   NOT NULL,
	is_admin      BIGINT NOT NULL,
	is_active     BIGINT NOT NULL,
	note          TEXT   NOT NULL,
	password_hash TEXT   NOT NULL,
	created_at    BIGINT NOT NULL,
	updated_at    BIGINT NOT NULL
);
CREATE UNIQUE INDEX account_email ON account (lower(email));

CREATE TABLE tenant_user (
	tenant_id        TEXT   NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
	user_id          TEXT   NOT NULL REFERENCES account (id) ON DELETE CASCADE,
	is_admin         BIGINT NOT NULL,
	is_device_admin  BIGINT NOT NULL,
	is_gateway_admin BIGINT NOT NULL,
	created_at       BIGINT NOT NULL,
	updated_at       BIGINT NOT NULL,
	PRIMARY KEY (tenant_id, user_id)
);
CREATE INDEX tenant_user_user ON tenant_user (user_id);

CREATE TABLE api_key (
	id           TEXT   NOT NULL PRIMARY KEY,
	name         TEXT   NOT NULL,
	is_admin     BIGINT NOT NULL,
	tenant_id    TEXT   REFERENCES tenant (id) ON DELETE CASCADE,
	is_read_only BIGINT NOT NULL,
	created_at   BIGINT NOT NULL
);
CREATE INDEX api_key_tenant ON api_key (tenant_id);

CREATE TABLE application (
	id          TEXT   NOT NULL PRIMARY KEY,
	tenant_id   TEXT   NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
	name        TEXT   NOT NULL,
	description TEXT   NOT NULL,
	tags        TEXT   NOT NULL,
	created_at  BIGINT NOT NULL,
	updated_at  BIGINT NOT NULL
);
CREATE INDEX application_tenant ON application (tenant_id, name);

-- `body` is the whole api.DeviceProfile as protobuf; the columns are what statements filter, sort and join by.
CREATE TABLE device_profile (
	id                  TEXT   NOT NULL PRIMARY KEY,
	tenant_id           TEXT   REFERENCES tenant (id) ON DELETE CASCADE,
	name                TEXT   NOT NULL,
	region              BIGINT NOT NULL,
	mac_version         BIGINT NOT NULL,
	reg_params_revision BIGINT NOT NULL,
	supports_otaa       BIGINT NOT NULL,
	supports_class_b    BIGINT NOT NULL,
	supports_class_c    BIGINT NOT NULL,
	uplink_interval     BIGINT NOT NULL,
	device_id           TEXT   NOT NULL,
	firmware_version    TEXT   NOT NULL,
	body                {bytea} NOT NULL,
	created_at          BIGINT NOT NULL,
	updated_at          BIGINT NOT NULL
);
CREATE INDEX device_profile_tenant ON device_profile (tenant_id, name);

-- The tenant of a device is that of its application, repeated here so that limits and rights need no join.
CREATE TABLE device (
	dev_eui           TEXT   NOT NULL PRIMARY KEY,
	tenant_id         TEXT   NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
	application_id    TEXT   NOT NULL REFERENCES application (id) ON DELETE CASCADE,
	device_profile_id TEXT   NOT NULL REFERENCES device_profile (id),
	name              TEXT   NOT NULL,
	description       TEXT   NOT NULL,
	join_eui          TEXT   NOT NULL,
	skip_fcnt_check   BIGINT NOT NULL,
	is_disabled       BIGINT NOT NULL,
	variables         TEXT   NOT NULL,
	tags              TEXT   NOT NULL,
	-- From events; never written by the API.
	last_seen_at      BIGINT NOT NULL,
	class_enabled     BIGINT NOT NULL,
	dev_addr          TEXT   NOT NULL,
	dr                BIGINT NOT NULL, -- of the last uplink; -1: none yet
	status_at         BIGINT NOT NULL, -- of the last DevStatusAns; 0: none yet
	margin            BIGINT NOT NULL,
	battery           BIGINT NOT NULL, -- as in DevStatusAns: 0 external power, 255 unknown
	created_at        BIGINT NOT NULL,
	updated_at        BIGINT NOT NULL
);
CREATE INDEX device_application ON device (application_id, name);
CREATE INDEX device_profile_of ON device (device_profile_id);
CREATE INDEX device_tenant ON device (tenant_id);

CREATE TABLE device_keys (
	dev_eui     TEXT   NOT NULL PRIMARY KEY REFERENCES device (dev_eui) ON DELETE CASCADE,
	nwk_key     TEXT   NOT NULL,
	app_key     TEXT   NOT NULL,
	gen_app_key TEXT   NOT NULL,
	join_nonce  BIGINT NOT NULL, -- the next one that the join server will use
	created_at  BIGINT NOT NULL,
	updated_at  BIGINT NOT NULL
);

-- Every DevNonce that a device has used with a JoinEUI (1.0.x: random, 1.1: rising).
CREATE TABLE dev_nonce (
	dev_eui   TEXT   NOT NULL REFERENCES device (dev_eui) ON DELETE CASCADE,
	join_eui  TEXT   NOT NULL,
	dev_nonce BIGINT NOT NULL,
	PRIMARY KEY (dev_eui, join_eui, dev_nonce)
);

-- AppSKeys. A session is named by its session_key_id in hex; '' is the one that the API activated (ABP).
CREATE TABLE device_session (
	dev_eui        TEXT   NOT NULL REFERENCES device (dev_eui) ON DELETE CASCADE,
	session_key_id TEXT   NOT NULL,
	app_s_key      TEXT   NOT NULL, -- 32 hex digits
	dev_addr       TEXT   NOT NULL,
	created_at     BIGINT NOT NULL,
	PRIMARY KEY (dev_eui, session_key_id)
);
CREATE INDEX device_session_id ON device_session (session_key_id);

CREATE TABLE gateway (
	gateway_id        TEXT   NOT NULL PRIMARY KEY,
	tenant_id         TEXT   NOT NULL REFERENCES tenant (id) ON DELETE CASCADE,
	name              TEXT   NOT NULL,
	description       TEXT   NOT NULL,
	latitude          DOUBLE PRECISION NOT NULL,
	longitude         DOUBLE PRECISION NOT NULL,
	altitude          DOUBLE PRECISION NOT NULL,
	stats_interval    BIGINT NOT NULL,
	downlink_priority BIGINT NOT NULL,
	tags              TEXT   NOT NULL,
	-- From statistics.
	properties        TEXT   NOT NULL,
	last_seen_at      BIGINT NOT NULL,
	created_at        BIGINT NOT NULL,
	updated_at        BIGINT NOT NULL
);
CREATE INDEX gateway_tenant ON gateway (tenant_id, name);

-- What the network-server must be told again, should this process or the call to it fail half-way. kind: 'gateway',
-- 'device_profile' or 'device'. Rows of one operation are written before the network-server hears of it and removed in
-- the transaction that makes the operation true.
CREATE TABLE ns_intent (
	kind       TEXT   NOT NULL,
	id         TEXT   NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (kind, id)
);
