/* Addresses. Each page is a chunk of its own; lists keep their state in search parameters. A tenant's lists live under
 * /t/<tenant>; a thing with an identifier of its own has an address that needs no tenant. */
import { createRootRoute, createRoute, createRouter, lazyRouteComponent, redirect } from '@tanstack/react-router';
import { q, queryClient } from './api/queries';
import { getToken } from './api/session';
import { listSearch, type ListSearch } from './lib/list';
import { SPANS, type Span } from './lib/series';
import { recallTenant } from './lib/tenant';
import { Crashed, Loading, Missing, MissingPage } from './ui/Fallbacks';
import { Shell } from './ui/Shell';

const root = createRootRoute({ notFoundComponent: MissingPage });

const login = createRoute({
  getParentRoute: () => root,
  path: '/login',
  validateSearch: (s: Record<string, unknown>): { next?: string } => (typeof s.next === 'string' && /^\/(?!\/)/.test(s.next) ? { next: s.next } : {}),
  component: lazyRouteComponent(() => import('./pages/Login'), 'Login'),
});

const shell = createRoute({
  getParentRoute: () => root,
  id: 'shell',
  beforeLoad: ({ location }) => {
    if (!getToken()) throw redirect({ to: '/login', search: location.href === '/' ? {} : { next: location.href } });
  },
  component: Shell,
});

const home = createRoute({
  getParentRoute: () => shell,
  path: '/',
  beforeLoad: async () => {
    const tenantId = await homeTenant();
    if (tenantId) throw redirect({ to: '/t/$tenantId', params: { tenantId }, replace: true });
  },
  component: lazyRouteComponent(() => import('./pages/NoTenant'), 'NoTenant'),
});

/** The tenant of the last visit when it is still there, else the first that has a gateway, else the first. */
async function homeTenant(): Promise<string | undefined> {
  const last = recallTenant();
  if (last && (await queryClient.ensureQueryData(q.tenant(last)).catch(() => undefined))) return last;
  const { result } = await queryClient.fetchQuery(q.tenantChoice(''));
  if (result.length < 2) return result[0]?.id;
  for (const { id } of result.slice(0, 5)) {
    const g = await queryClient.fetchQuery(q.gatewaySummary(id)).catch(() => undefined);
    if (g && g.onlineCount + g.offlineCount + g.neverSeenCount > 0) return id;
  }
  return result[0]?.id;
}

const tenant = createRoute({ getParentRoute: () => shell, path: '/t/$tenantId' });
const overview = createRoute({ getParentRoute: () => tenant, path: '/', component: lazyRouteComponent(() => import('./pages/Overview'), 'Overview') });

const gateways = createRoute({
  getParentRoute: () => tenant,
  path: '/gateways',
  validateSearch: (s: Record<string, unknown>): ListSearch => listSearch(s),
  component: lazyRouteComponent(() => import('./pages/Gateways'), 'Gateways'),
});
const gatewayNew = createRoute({
  getParentRoute: () => tenant,
  path: '/gateways/new',
  validateSearch: (s: Record<string, unknown>): { eui?: string } => (s.eui !== undefined ? { eui: String(s.eui) } : {}),
  component: lazyRouteComponent(() => import('./pages/GatewayForm'), 'GatewayNew'),
});
const gateway = createRoute({ getParentRoute: () => shell, path: '/gateways/$gatewayId', component: lazyRouteComponent(() => import('./pages/Gateway'), 'Gateway') });
const gatewayOverview = createRoute({ getParentRoute: () => gateway, path: '/', component: lazyRouteComponent(() => import('./pages/Gateway'), 'GatewayOverview') });
const gatewayLive = createRoute({ getParentRoute: () => gateway, path: '/live', validateSearch: (s: Record<string, unknown>) => liveSearch(s), component: lazyRouteComponent(() => import('./pages/Live'), 'GatewayLive') });
const gatewayConfig = createRoute({ getParentRoute: () => gateway, path: '/configuration', component: lazyRouteComponent(() => import('./pages/GatewayForm'), 'GatewayConfig') });

const profiles = createRoute({
  getParentRoute: () => tenant,
  path: '/device-profiles',
  validateSearch: (s: Record<string, unknown>): ListSearch => listSearch(s),
  component: lazyRouteComponent(() => import('./pages/DeviceProfiles'), 'DeviceProfiles'),
});
const profileNew = createRoute({ getParentRoute: () => tenant, path: '/device-profiles/new', component: lazyRouteComponent(() => import('./pages/DeviceProfileForm'), 'DeviceProfileNew') });
const profile = createRoute({ getParentRoute: () => shell, path: '/device-profiles/$profileId', component: lazyRouteComponent(() => import('./pages/DeviceProfileForm'), 'DeviceProfileEdit') });

const applications = createRoute({
  getParentRoute: () => tenant,
  path: '/applications',
  validateSearch: (s: Record<string, unknown>): ListSearch => listSearch(s),
  component: lazyRouteComponent(() => import('./pages/Applications'), 'Applications'),
});
const applicationNew = createRoute({ getParentRoute: () => tenant, path: '/applications/new', component: lazyRouteComponent(() => import('./pages/ApplicationForm'), 'ApplicationNew') });
const application = createRoute({ getParentRoute: () => shell, path: '/applications/$applicationId', component: lazyRouteComponent(() => import('./pages/Application'), 'Application') });
const applicationDevices = createRoute({
  getParentRoute: () => application,
  path: '/',
  validateSearch: (s: Record<string, unknown>): DeviceSearch => deviceSearch(s),
  component: lazyRouteComponent(() => import('./pages/Application'), 'ApplicationDevices'),
});
const applicationEvents = createRoute({ getParentRoute: () => application, path: '/events', component: lazyRouteComponent(() => import('./pages/Application'), 'ApplicationEvents') });
const applicationIntegrations = createRoute({ getParentRoute: () => application, path: '/integrations', component: lazyRouteComponent(() => import('./pages/Integrations'), 'Integrations') });
const applicationConfig = createRoute({ getParentRoute: () => application, path: '/configuration', component: lazyRouteComponent(() => import('./pages/ApplicationForm'), 'ApplicationConfig') });
const applicationMulticast = createRoute({
  getParentRoute: () => application,
  path: '/multicast',
  validateSearch: (s: Record<string, unknown>): ListSearch => listSearch(s),
  component: lazyRouteComponent(() => import('./pages/MulticastGroups'), 'MulticastGroups'),
});
const multicastNew = createRoute({ getParentRoute: () => shell, path: '/applications/$applicationId/multicast/new', component: lazyRouteComponent(() => import('./pages/MulticastGroups'), 'MulticastNew') });
const multicastGroup = createRoute({ getParentRoute: () => shell, path: '/multicast-groups/$groupId', component: lazyRouteComponent(() => import('./pages/MulticastGroup'), 'MulticastGroup') });
const multicastQueue = createRoute({ getParentRoute: () => multicastGroup, path: '/', component: lazyRouteComponent(() => import('./pages/MulticastGroup'), 'MulticastQueue') });
const multicastMembers = createRoute({ getParentRoute: () => multicastGroup, path: '/members', component: lazyRouteComponent(() => import('./pages/MulticastGroup'), 'MulticastMembers') });
const multicastConfig = createRoute({ getParentRoute: () => multicastGroup, path: '/configuration', component: lazyRouteComponent(() => import('./pages/MulticastGroup'), 'MulticastConfig') });
const deviceNew = createRoute({ getParentRoute: () => shell, path: '/applications/$applicationId/devices/new', component: lazyRouteComponent(() => import('./pages/DeviceForm'), 'DeviceNew') });

export interface DeviceSearch extends ListSearch {
  app?: string;
  profile?: string;
}
function deviceSearch(s: Record<string, unknown>): DeviceSearch {
  return { ...listSearch(s), ...(typeof s.app === 'string' ? { app: s.app } : {}), ...(typeof s.profile === 'string' ? { profile: s.profile } : {}) };
}
const devices = createRoute({
  getParentRoute: () => tenant,
  path: '/devices',
  validateSearch: (s: Record<string, unknown>): DeviceSearch => deviceSearch(s),
  component: lazyRouteComponent(() => import('./pages/Devices'), 'Devices'),
});
const device = createRoute({ getParentRoute: () => shell, path: '/devices/$devEui', component: lazyRouteComponent(() => import('./pages/Device'), 'Device') });
const deviceOverview = createRoute({ getParentRoute: () => device, path: '/', component: lazyRouteComponent(() => import('./pages/Device'), 'DeviceOverview') });

export interface LiveSearch {
  show?: 'events';
  text?: string;
  dir?: 'up' | 'down';
  outcome?: string;
}
function liveSearch(s: Record<string, unknown>): LiveSearch {
  return {
    ...(s.show === 'events' ? { show: 'events' } : {}),
    ...(s.text !== undefined && s.text !== '' ? { text: String(s.text) } : {}),
    ...(s.dir === 'up' || s.dir === 'down' ? { dir: s.dir } : {}),
    ...(typeof s.outcome === 'string' && s.outcome ? { outcome: s.outcome } : {}),
  };
}
const deviceLive = createRoute({ getParentRoute: () => device, path: '/live', validateSearch: (s: Record<string, unknown>) => liveSearch(s), component: lazyRouteComponent(() => import('./pages/Live'), 'DeviceLive') });
const spanSearch = (s: Record<string, unknown>): { span?: Span } => (SPANS.includes(s.span as Span) ? { span: s.span as Span } : {});
const deviceStatistics = createRoute({ getParentRoute: () => device, path: '/statistics', validateSearch: (s: Record<string, unknown>) => spanSearch(s), component: lazyRouteComponent(() => import('./pages/Statistics'), 'DeviceStatistics') });
const gatewayStatistics = createRoute({ getParentRoute: () => gateway, path: '/statistics', validateSearch: (s: Record<string, unknown>) => spanSearch(s), component: lazyRouteComponent(() => import('./pages/Statistics'), 'GatewayStatistics') });
const deviceQueue = createRoute({ getParentRoute: () => device, path: '/queue', component: lazyRouteComponent(() => import('./pages/DeviceQueue'), 'DeviceQueue') });
const deviceMac = createRoute({ getParentRoute: () => device, path: '/mac-commands', component: lazyRouteComponent(() => import('./pages/DeviceMac'), 'DeviceMac') });
const deviceKeys = createRoute({ getParentRoute: () => device, path: '/keys', component: lazyRouteComponent(() => import('./pages/DeviceKeys'), 'DeviceKeys') });
const deviceActivation = createRoute({ getParentRoute: () => device, path: '/activation', component: lazyRouteComponent(() => import('./pages/DeviceActivation'), 'DeviceActivation') });
const deviceConfig = createRoute({ getParentRoute: () => device, path: '/configuration', component: lazyRouteComponent(() => import('./pages/DeviceForm'), 'DeviceConfig') });

const tenants = createRoute({
  getParentRoute: () => shell,
  path: '/tenants',
  validateSearch: (s: Record<string, unknown>): ListSearch => listSearch(s),
  component: lazyRouteComponent(() => import('./pages/Tenants'), 'Tenants'),
});
const tenantNew = createRoute({ getParentRoute: () => shell, path: '/tenants/new', component: lazyRouteComponent(() => import('./pages/TenantForm'), 'TenantNew') });
const tenantDetail = createRoute({ getParentRoute: () => shell, path: '/tenants/$tenantId', component: lazyRouteComponent(() => import('./pages/Tenant'), 'Tenant') });
const tenantConfig = createRoute({ getParentRoute: () => tenantDetail, path: '/', component: lazyRouteComponent(() => import('./pages/TenantForm'), 'TenantConfig') });
const tenantUsers = createRoute({
  getParentRoute: () => tenantDetail,
  path: '/users',
  validateSearch: (s: Record<string, unknown>): ListSearch => listSearch(s),
  component: lazyRouteComponent(() => import('./pages/TenantUsers'), 'TenantUsers'),
});

const users = createRoute({
  getParentRoute: () => shell,
  path: '/users',
  validateSearch: (s: Record<string, unknown>): ListSearch => listSearch(s),
  component: lazyRouteComponent(() => import('./pages/Users'), 'Users'),
});
const userNew = createRoute({ getParentRoute: () => shell, path: '/users/new', component: lazyRouteComponent(() => import('./pages/UserForm'), 'UserNew') });
const user = createRoute({ getParentRoute: () => shell, path: '/users/$userId', component: lazyRouteComponent(() => import('./pages/UserForm'), 'UserEdit') });
const apiKeys = createRoute({
  getParentRoute: () => tenant,
  path: '/api-keys',
  validateSearch: (s: Record<string, unknown>): { scope?: 'admin' } => (s.scope === 'admin' ? { scope: 'admin' } : {}),
  component: lazyRouteComponent(() => import('./pages/ApiKeys'), 'ApiKeys'),
});

const tree = root.addChildren([
  login,
  shell.addChildren([
    home,
    tenant.addChildren([overview, gateways, gatewayNew, profiles, profileNew, applications, applicationNew, devices, apiKeys]),
    gateway.addChildren([gatewayOverview, gatewayLive, gatewayConfig, gatewayStatistics]),
    profile,
    application.addChildren([applicationDevices, applicationEvents, applicationIntegrations, applicationMulticast, applicationConfig]),
    deviceNew,
    multicastNew,
    multicastGroup.addChildren([multicastQueue, multicastMembers, multicastConfig]),
    device.addChildren([deviceOverview, deviceLive, deviceStatistics, deviceQueue, deviceMac, deviceKeys, deviceActivation, deviceConfig]),
    tenants,
    tenantNew,
    tenantDetail.addChildren([tenantConfig, tenantUsers]),
    users,
    userNew,
    user,
  ]),
]);

export const router = createRouter({
  routeTree: tree,
  defaultPreload: 'intent',
  defaultPendingMs: 250,
  defaultPendingComponent: Loading,
  defaultErrorComponent: Crashed,
  defaultNotFoundComponent: Missing,
  scrollRestoration: true,
});

declare module '@tanstack/react-router' {
  interface Register {
    router: typeof router;
  }
}
