/* Queries of the server state, one function each: keys begin with the kind of object, so that a change or a live notice
 * marks all views of it as stale at once. */
import { QueryClient, queryOptions, keepPreviousData } from '@tanstack/react-query';
import { PAGE_SIZE, type ListSearch } from '../lib/list';
import { range, type Span } from '../lib/series';
import { api, ok, type Schemas } from './client';
import { ApiError } from './errors';

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 15_000,
      refetchOnWindowFocus: false,
      retry: (count, error) => count < 2 && !(error instanceof ApiError && error.status >= 400 && error.status < 500),
    },
    mutations: { retry: false },
  },
});

const page = (s: ListSearch) => ({ limit: PAGE_SIZE, offset: ((s.page ?? 1) - 1) * PAGE_SIZE, search: s.q });

/** Everything a select can offer; a longer list is searched. */
export const ALL = 1000;

export const q = {
  profile: () => queryOptions({ queryKey: ['profile'], queryFn: ({ signal }) => ok(api.GET('/api/internal/profile', { signal })), staleTime: 60_000 }),
  version: () => queryOptions({ queryKey: ['version'], queryFn: ({ signal }) => ok(api.GET('/api/internal/version', { signal })), staleTime: Infinity }),
  regions: () => queryOptions({ queryKey: ['regions'], queryFn: ({ signal }) => ok(api.GET('/api/internal/regions', { signal })), staleTime: 300_000 }),

  tenants: (s: ListSearch) => queryOptions({ queryKey: ['tenant', 'list', s], queryFn: ({ signal }) => ok(api.GET('/api/tenants', { params: { query: page(s) }, signal })), placeholderData: keepPreviousData }),
  tenantChoice: (search: string) => queryOptions({ queryKey: ['tenant', 'choice', search], queryFn: ({ signal }) => ok(api.GET('/api/tenants', { params: { query: { limit: 50, search } }, signal })), placeholderData: keepPreviousData }),
  tenant: (id: string) => queryOptions({ queryKey: ['tenant', 'one', id], queryFn: ({ signal }) => ok(api.GET('/api/tenants/{id}', { params: { path: { id } }, signal })), enabled: id !== '' }),
  tenantUsers: (tenantId: string, s: ListSearch) =>
    queryOptions({ queryKey: ['tenant', 'users', tenantId, s], queryFn: ({ signal }) => ok(api.GET('/api/tenants/{tenantId}/users', { params: { path: { tenantId }, query: { limit: PAGE_SIZE, offset: page(s).offset } }, signal })) }),

  gateways: (tenantId: string, s: ListSearch) =>
    queryOptions({
      queryKey: ['gateway', 'list', tenantId, s],
      queryFn: ({ signal }) => ok(api.GET('/api/gateways', { params: { query: { ...page(s), tenantId, orderBy: s.sort as Schemas['api.ListGatewaysRequest.OrderBy'] | undefined, orderByDesc: s.desc } }, signal })),
      placeholderData: keepPreviousData,
    }),
  /** The longest silent first; those that were never seen come before them and are passed over. */
  gatewaysSilent: (tenantId: string, neverSeen: number) =>
    queryOptions({ queryKey: ['gateway', 'silent', tenantId, neverSeen], queryFn: ({ signal }) => ok(api.GET('/api/gateways', { params: { query: { limit: PAGE_SIZE, offset: neverSeen, tenantId, orderBy: 'LAST_SEEN_AT' } }, signal })), placeholderData: keepPreviousData }),
  gateway: (gatewayId: string) => queryOptions({ queryKey: ['gateway', 'one', gatewayId], queryFn: ({ signal }) => ok(api.GET('/api/gateways/{gatewayId}', { params: { path: { gatewayId } }, signal })) }),
  // No stream tells what is counted; the server writes it once a minute.
  gatewayMetrics: (gatewayId: string, span: Span) =>
    queryOptions({ queryKey: ['statistics', 'gateway', gatewayId, span], queryFn: ({ signal }) => ok(api.GET('/api/gateways/{gatewayId}/metrics', { params: { path: { gatewayId }, query: range(span, Date.now()) }, signal })), refetchInterval: 60_000, placeholderData: keepPreviousData }),
  gatewayDuty: (gatewayId: string) =>
    queryOptions({
      queryKey: ['statistics', 'duty', gatewayId],
      queryFn: ({ signal }) => ok(api.GET('/api/gateways/{gatewayId}/duty-cycle-metrics', { params: { path: { gatewayId }, query: { start: new Date(Date.now() - 7_140_000).toISOString(), end: new Date().toISOString() } }, signal })),
      refetchInterval: 60_000,
    }),
  gatewaySummary: (tenantId: string) => queryOptions({ queryKey: ['gateway', 'summary', tenantId], queryFn: ({ signal }) => ok(api.GET('/api/internal/gateways-summary', { params: { query: { tenantId } }, signal })) }),

  deviceProfiles: (tenantId: string, s: ListSearch) =>
    queryOptions({ queryKey: ['profile-device', 'list', tenantId, s], queryFn: ({ signal }) => ok(api.GET('/api/device-profiles', { params: { query: { ...page(s), tenantId } }, signal })), placeholderData: keepPreviousData }),
  deviceProfileChoice: (tenantId: string) =>
    queryOptions({ queryKey: ['profile-device', 'choice', tenantId], queryFn: ({ signal }) => ok(api.GET('/api/device-profiles', { params: { query: { limit: ALL, tenantId } }, signal })), enabled: tenantId !== '' }),
  deviceProfile: (id: string) => queryOptions({ queryKey: ['profile-device', 'one', id], queryFn: ({ signal }) => ok(api.GET('/api/device-profiles/{id}', { params: { path: { id } }, signal })), enabled: id !== '' }),
  deviceProfileRadio: (id: string) => queryOptions({ queryKey: ['profile-device', 'radio', id], queryFn: ({ signal }) => ok(api.GET('/api/longwave/device-profiles/{id}/radio', { params: { path: { id } }, signal })) }),
  uplinkDataRates: (region: Schemas['common.Region'], macVersion: Schemas['common.MacVersion'], regParamsRevision: Schemas['common.RegParamsRevision']) =>
    queryOptions({ queryKey: ['uplink-data-rates', region, macVersion, regParamsRevision], queryFn: ({ signal }) => ok(api.GET('/api/longwave/uplink-data-rates', { params: { query: { region, macVersion, regParamsRevision } }, signal })), staleTime: Infinity }),
  adrAlgorithms: () => queryOptions({ queryKey: ['adr'], queryFn: ({ signal }) => ok(api.GET('/api/device-profiles/adr-algorithms', { signal })), staleTime: Infinity }),

  applications: (tenantId: string, s: ListSearch) =>
    queryOptions({ queryKey: ['application', 'list', tenantId, s], queryFn: ({ signal }) => ok(api.GET('/api/applications', { params: { query: { ...page(s), tenantId } }, signal })), placeholderData: keepPreviousData }),
  applicationChoice: (tenantId: string) =>
    queryOptions({ queryKey: ['application', 'choice', tenantId], queryFn: ({ signal }) => ok(api.GET('/api/applications', { params: { query: { limit: ALL, tenantId } }, signal })), enabled: tenantId !== '' }),
  application: (id: string) => queryOptions({ queryKey: ['application', 'one', id], queryFn: ({ signal }) => ok(api.GET('/api/applications/{id}', { params: { path: { id } }, signal })), enabled: id !== '' }),
  /** null: there is none. */
  httpIntegration: (applicationId: string) =>
    queryOptions({
      queryKey: ['integration', 'http', applicationId],
      queryFn: async ({ signal }) => {
        try {
          return await ok(api.GET('/api/applications/{applicationId}/integrations/http', { params: { path: { applicationId } }, signal }));
        } catch (e) {
          if (e instanceof ApiError && e.status === 404) return null;
          throw e;
        }
      },
    }),
  // No stream tells how deliveries fare.
  integrationStatus: (applicationId: string) =>
    queryOptions({ queryKey: ['integration', 'status', applicationId], queryFn: ({ signal }) => ok(api.GET('/api/longwave/applications/{applicationId}/integrations', { params: { path: { applicationId } }, signal })), refetchInterval: 3000 }),
  deadLetters: (applicationId: string) =>
    queryOptions({
      queryKey: ['integration', 'dead', applicationId],
      queryFn: ({ signal }) => ok(api.GET('/api/longwave/applications/{applicationId}/integrations/dead-letters', { params: { path: { applicationId }, query: { limit: 100 } }, signal })),
      refetchInterval: 5000,
    }),

  devices: (applicationId: string, s: ListSearch & { profile?: string }) =>
    queryOptions({
      queryKey: ['device', 'list', applicationId, s],
      queryFn: ({ signal }) =>
        ok(api.GET('/api/devices', { params: { query: { ...page(s), applicationId, deviceProfileId: s.profile, orderBy: s.sort as Schemas['api.ListDevicesRequest.OrderBy'] | undefined, orderByDesc: s.desc } }, signal })),
      placeholderData: keepPreviousData,
      enabled: applicationId !== '',
    }),
  deviceSummary: (tenantId: string) => queryOptions({ queryKey: ['device', 'summary', tenantId], queryFn: ({ signal }) => ok(api.GET('/api/internal/devices-summary', { params: { query: { tenantId } }, signal })) }),
  device: (devEui: string) => queryOptions({ queryKey: ['device', 'one', devEui], queryFn: ({ signal }) => ok(api.GET('/api/devices/{devEui}', { params: { path: { devEui } }, signal })) }),
  deviceKeys: (devEui: string) =>
    queryOptions({
      queryKey: ['device', 'keys', devEui],
      queryFn: async ({ signal }) => {
        try {
          return await ok(api.GET('/api/devices/{devEui}/keys', { params: { path: { devEui } }, signal }));
        } catch (e) {
          if (e instanceof ApiError && e.status === 404) return null;
          throw e;
        }
      },
    }),
  deviceMetrics: (devEui: string, span: Span) =>
    queryOptions({ queryKey: ['statistics', 'device', devEui, span], queryFn: ({ signal }) => ok(api.GET('/api/devices/{devEui}/link-metrics', { params: { path: { devEui }, query: range(span, Date.now()) }, signal })), refetchInterval: 60_000, placeholderData: keepPreviousData }),
  deviceLink: (devEui: string, span: Span) =>
    queryOptions({ queryKey: ['statistics', 'link', devEui, span], queryFn: ({ signal }) => ok(api.GET('/api/longwave/devices/{devEui}/link', { params: { path: { devEui }, query: range(span, Date.now()) }, signal })), refetchInterval: 30_000, placeholderData: keepPreviousData }),
  activation: (devEui: string) => queryOptions({ queryKey: ['device', 'activation', devEui], queryFn: ({ signal }) => ok(api.GET('/api/devices/{devEui}/activation', { params: { path: { devEui } }, signal })) }),
  queue: (devEui: string) => queryOptions({ queryKey: ['device', 'queue', devEui], queryFn: ({ signal }) => ok(api.GET('/api/devices/{devEui}/queue', { params: { path: { devEui } }, signal })) }),

  macCommands: (devEui: string) => queryOptions({ queryKey: ['device', 'mac', devEui], queryFn: ({ signal }) => ok(api.GET('/api/longwave/devices/{devEui}/mac-commands', { params: { path: { devEui } }, signal })) }),

  multicastGroups: (applicationId: string, s: ListSearch) =>
    queryOptions({ queryKey: ['multicast', 'list', applicationId, s], queryFn: ({ signal }) => ok(api.GET('/api/multicast-groups', { params: { query: { ...page(s), applicationId } }, signal })), placeholderData: keepPreviousData }),
  multicastGroup: (id: string) => queryOptions({ queryKey: ['multicast', 'one', id], queryFn: ({ signal }) => ok(api.GET('/api/multicast-groups/{id}', { params: { path: { id } }, signal })) }),
  // No stream tells what was sent to a group.
  multicastQueue: (multicastGroupId: string) =>
    queryOptions({ queryKey: ['multicast', 'queue', multicastGroupId], queryFn: ({ signal }) => ok(api.GET('/api/multicast-groups/{multicastGroupId}/queue', { params: { path: { multicastGroupId } }, signal })), refetchInterval: 3000 }),
  multicastDevices: (applicationId: string, multicastGroupId: string, n: number) =>
    queryOptions({ queryKey: ['multicast', 'devices', multicastGroupId, n], queryFn: ({ signal }) => ok(api.GET('/api/devices', { params: { query: { ...page({ page: n }), applicationId, multicastGroupId } }, signal })), placeholderData: keepPreviousData }),
  multicastGateways: (multicastGroupId: string, n: number) =>
    queryOptions({ queryKey: ['multicast', 'gateways', multicastGroupId, n], queryFn: ({ signal }) => ok(api.GET('/api/gateways', { params: { query: { ...page({ page: n }), multicastGroupId } }, signal })), placeholderData: keepPreviousData }),
  deviceChoice: (applicationId: string, search: string) =>
    queryOptions({ queryKey: ['device', 'choice', applicationId, search], queryFn: ({ signal }) => ok(api.GET('/api/devices', { params: { query: { limit: PAGE_SIZE, applicationId, search } }, signal })), placeholderData: keepPreviousData }),
  gatewayChoice: (tenantId: string, search: string) =>
    queryOptions({ queryKey: ['gateway', 'choice', tenantId, search], queryFn: ({ signal }) => ok(api.GET('/api/gateways', { params: { query: { limit: PAGE_SIZE, tenantId, search } }, signal })), placeholderData: keepPreviousData }),

  users: (s: ListSearch) => queryOptions({ queryKey: ['user', 'list', s], queryFn: ({ signal }) => ok(api.GET('/api/users', { params: { query: { limit: PAGE_SIZE, offset: page(s).offset } }, signal })), placeholderData: keepPreviousData }),
  user: (id: string) => queryOptions({ queryKey: ['user', 'one', id], queryFn: ({ signal }) => ok(api.GET('/api/users/{id}', { params: { path: { id } }, signal })) }),
  apiKeys: (tenantId: string, isAdmin: boolean) =>
    queryOptions({ queryKey: ['api-key', isAdmin ? 'admin' : tenantId], queryFn: ({ signal }) => ok(api.GET('/api/internal/api-keys', { params: { query: isAdmin ? { limit: ALL, isAdmin: true } : { limit: ALL, tenantId } }, signal })) }),
};

/** Marks everything that is shown of these kinds as stale. */
export const changed = (...kinds: string[]) => Promise.all(kinds.map((kind) => queryClient.invalidateQueries({ queryKey: [kind] })));
