-- Multicast groups: one address and one pair of session keys for many devices, and what is to be sent to them.

-- session: changes with the address and the keys; the counter never goes back while it stays the same.
-- lease, lease_until: the replica that sends to this group, and until when nobody else does. writer: as in device.
-- not_before: nothing is sent to the group before this time (the last transmission and the gap behind it).
CREATE TABLE multicast_group (
	id          {uuid}  NOT NULL PRIMARY KEY,
	body        {bytea} NOT NULL,
	session     {bytea} NOT NULL,
	f_cnt       BIGINT  NOT NULL, -- the next one
	lease       TEXT    NOT NULL,
	lease_until BIGINT  NOT NULL,
	not_before  BIGINT  NOT NULL,
	writer      BIGINT  NOT NULL
);

CREATE TABLE multicast_device (
	group_id {uuid} NOT NULL REFERENCES multicast_group (id) ON DELETE CASCADE,
	dev_eui  BIGINT NOT NULL,
	PRIMARY KEY (group_id, dev_eui)
);
CREATE INDEX multicast_device_groups ON multicast_device (dev_eui);

-- The gateways that send, where they were chosen by hand; none: whoever covers the devices.
CREATE TABLE multicast_gateway (
	group_id   {uuid} NOT NULL REFERENCES multicast_group (id) ON DELETE CASCADE,
	gateway_id BIGINT NOT NULL,
	PRIMARY KEY (group_id, gateway_id)
);
CREATE INDEX multicast_gateway_groups ON multicast_gateway (gateway_id);

-- An item has its counter from the transaction that stores it. planned: its gateways are in multicast_copy, and it goes
-- when the last of them is through.
CREATE TABLE multicast_item (
	id          {uuid}  NOT NULL PRIMARY KEY,
	group_id    {uuid}  NOT NULL REFERENCES multicast_group (id) ON DELETE CASCADE,
	f_cnt       BIGINT  NOT NULL,
	body        {bytea} NOT NULL,
	planned     BIGINT  NOT NULL,
	enqueued_at BIGINT  NOT NULL
);
CREATE INDEX multicast_item_group ON multicast_item (group_id, f_cnt);

-- One gateway's transmission of an item. due: not before. parked: its gateway is not heard, other items pass it.
CREATE TABLE multicast_copy (
	item_id    {uuid} NOT NULL REFERENCES multicast_item (id) ON DELETE CASCADE,
	gateway_id BIGINT NOT NULL,
	due        BIGINT NOT NULL,
	attempts   BIGINT NOT NULL,
	parked     BIGINT NOT NULL,
	PRIMARY KEY (item_id, gateway_id)
);
