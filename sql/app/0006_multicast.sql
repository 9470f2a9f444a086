-- Multicast groups. f_cnt: as it was last set by the API; the network-server knows the next one.
CREATE TABLE multicast_group (
	id                            TEXT   NOT NULL PRIMARY KEY,
	application_id                TEXT   NOT NULL REFERENCES application (id) ON DELETE CASCADE,
	name                          TEXT   NOT NULL,
	region                        BIGINT NOT NULL,
	mc_addr                       TEXT   NOT NULL,
	mc_nwk_s_key                  TEXT   NOT NULL, -- 32 hex digits
	mc_app_s_key                  TEXT   NOT NULL,
	f_cnt                         BIGINT NOT NULL,
	group_type                    BIGINT NOT NULL,
	dr                            BIGINT NOT NULL,
	frequency                     BIGINT NOT NULL,
	class_b_ping_slot_periodicity BIGINT NOT NULL,
	class_c_scheduling_type       BIGINT NOT NULL,
	created_at                    BIGINT NOT NULL,
	updated_at                    BIGINT NOT NULL
);
CREATE INDEX multicast_group_application ON multicast_group (application_id, name);

CREATE TABLE multicast_group_device (
	group_id   TEXT   NOT NULL REFERENCES multicast_group (id) ON DELETE CASCADE,
	dev_eui    TEXT   NOT NULL REFERENCES device (dev_eui) ON DELETE CASCADE,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (group_id, dev_eui)
);
CREATE INDEX multicast_group_device_of ON multicast_group_device (dev_eui);

CREATE TABLE multicast_group_gateway (
	group_id   TEXT   NOT NULL REFERENCES multicast_group (id) ON DELETE CASCADE,
	gateway_id TEXT   NOT NULL REFERENCES gateway (gateway_id) ON DELETE CASCADE,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (group_id, gateway_id)
);
CREATE INDEX multicast_group_gateway_of ON multicast_group_gateway (gateway_id);
