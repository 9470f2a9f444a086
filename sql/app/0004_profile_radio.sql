-- ADR and MAC settings of a device profile: longwave.app.v1.DeviceProfileRadio, packed. NULL: none.
ALTER TABLE device_profile ADD COLUMN radio {bytea};
