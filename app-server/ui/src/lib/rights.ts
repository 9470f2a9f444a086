/* What the signed-in user may do, from the profile, by the permission table of the API. Decides only what is shown;
 * the server decides what is done. Pure. */
import type { Schemas } from '../api/client';

export type Profile = Schemas['api.ProfileResponse'];

export interface TenantRights {
  /** Administrator of the installation. */
  admin: boolean;
  read: boolean;
  /** Users and API keys of the tenant. */
  manage: boolean;
  devices: boolean;
  gateways: boolean;
}

export function tenantRights(profile: Profile | undefined, tenantId: string | undefined): TenantRights {
  const active = profile?.user?.isActive ?? false;
  const admin = active && (profile?.user?.isAdmin ?? false);
  const link = active ? profile?.tenants.find((t) => t.tenantId === tenantId) : undefined;
  const manage = admin || (link?.isAdmin ?? false);
  return {
    admin,
    read: admin || link !== undefined,
    manage,
    devices: manage || (link?.isDeviceAdmin ?? false),
    gateways: manage || (link?.isGatewayAdmin ?? false),
  };
}

/** May change devices of the application: by the tenant, or by a grant of its own. */
export function mayWriteApplication(profile: Profile | undefined, tenantId: string | undefined, applicationId: string | undefined): boolean {
  if (tenantRights(profile, tenantId).devices) return true;
  return profile?.applications.some((a) => a.applicationId === applicationId && !a.isReadOnly) ?? false;
}

export function mayWriteProfile(profile: Profile | undefined, tenantId: string | undefined, profileId: string | undefined): boolean {
  if (!tenantId) return tenantRights(profile, undefined).admin;
  return tenantRights(profile, tenantId).devices || (profile?.deviceProfiles.some((p) => p.deviceProfileId === profileId) ?? false);
}
