/* The frame around every page: navigation, tenant switcher, search, live state, theme, account. */
import { ActionIcon, Burger, Drawer, Menu, Modal, Select, Text, Tooltip, useMantineColorScheme, type MantineColorScheme } from '@mantine/core';
import { useHotkeys } from '@mantine/hooks';
import {
  IconAntenna,
  IconBox,
  IconBuilding,
  IconCpu,
  IconDeviceDesktop,
  IconHome2,
  IconKey,
  IconLanguage,
  IconLogout,
  IconMoon,
  IconPassword,
  IconSearch,
  IconSettings2,
  IconSun,
  IconUserCircle,
  IconUsers,
} from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { Link, Outlet, useLocation, useNavigate, type LinkProps } from '@tanstack/react-router';
import { lazy, Suspense, useEffect, useState, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { q, queryClient } from '../api/queries';
import { signOut, useExpired, useToken } from '../api/session';
import { LANGUAGES, setLanguage, type Language } from '../i18n';
import { tenantRights } from '../lib/rights';
import { forgetTenant, rememberTenant, useCurrentTenant } from '../lib/tenant';
import { useOverviewStream } from '../live/overview';
import { useLiveState } from '../live/useStream';
import { State } from './bits';
import { Logo } from './Logo';
import { SignInForm } from './SignInForm';

const Search = lazy(() => import('./Search'));
const Password = lazy(() => import('./PasswordDialog'));

export function Shell() {
  const { t } = useTranslation();
  const token = useToken();
  const expired = useExpired();
  const navigate = useNavigate();
  const location = useLocation();
  const tenantId = useCurrentTenant();
  const profile = useQuery(q.profile());
  const rights = tenantRights(profile.data, tenantId);
  const [drawer, setDrawer] = useState(false);
  const [search, setSearch] = useState(false);
  const [password, setPassword] = useState(false);
  useHotkeys([['mod+K', () => setSearch(true)]], []);
  useOverviewStream(tenantId);

  useEffect(() => {
    if (tenantId) rememberTenant(tenantId);
  }, [tenantId]);
  useEffect(() => setDrawer(false), [location.pathname]);
  useEffect(() => {
    if (!token) {
      queryClient.clear();
      void navigate({ to: '/login' });
    }
  }, [token, navigate]);

  return (
    <div className="shell">
      <a className="skip" href="#main">
        {t('shell.skip')}
      </a>
      <header className="top">
        <Burger className="burger" size="sm" opened={drawer} onClick={() => setDrawer(!drawer)} aria-label={t('shell.menu')} />
        <Link to="/" className="brand" aria-label="Longwave">
          <Logo />
          <span>Longwave</span>
        </Link>
        <TenantSwitcher tenantId={tenantId} />
        <span className="spacer" />
        <button type="button" className="search-button" onClick={() => setSearch(true)} aria-label={t('shell.search')}>
          <IconSearch size={15} aria-hidden />
          <span>{t('shell.search')}</span>
          <kbd>Ctrl K</kbd>
        </button>
        <LiveIndicator />
        <ThemeMenu />
        <Menu position="bottom-end" width={230}>
          <Menu.Target>
            <ActionIcon variant="subtle" color="gray" size={34} aria-label={t('shell.account')}>
              <IconUserCircle size={20} />
            </ActionIcon>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Label>
              <Text size="sm" c="var(--lw-text)" fw={500} truncate>
                {profile.data?.user?.email ?? '…'}
              </Text>
              {profile.data?.user?.isAdmin ? t('shell.administrator') : t('shell.user')}
            </Menu.Label>
            <Menu.Divider />
            <Menu.Item leftSection={<IconPassword size={16} />} onClick={() => setPassword(true)}>
              {t('shell.password')}
            </Menu.Item>
            <LanguageItems />
            <Menu.Divider />
            <Menu.Item
              leftSection={<IconLogout size={16} />}
              onClick={() => {
                forgetTenant();
                signOut();
              }}
            >
              {t('shell.signOut')}
            </Menu.Item>
          </Menu.Dropdown>
        </Menu>
      </header>
      <nav className="nav" aria-label={t('shell.navigation')}>
        <Navigation tenantId={tenantId} admin={rights.admin} read={rights.read} manage={rights.manage} />
      </nav>
      <Drawer opened={drawer} onClose={() => setDrawer(false)} size={260} title="Longwave" className="drawer" closeButtonProps={{ 'aria-label': t('common.close') }} transitionProps={{ duration: 120 }}>
        <nav aria-label={t('shell.navigation')}>
          <Navigation tenantId={tenantId} admin={rights.admin} read={rights.read} manage={rights.manage} />
        </nav>
      </Drawer>
      <main className="main" id="main" tabIndex={-1}>
        <Outlet />
      </main>
      <Suspense>
        {search && <Search close={() => setSearch(false)} />}
        {password && <Password userId={profile.data?.user?.id ?? ''} close={() => setPassword(false)} />}
      </Suspense>
      <Modal opened={expired} onClose={() => undefined} withCloseButton={false} closeOnEscape={false} closeOnClickOutside={false} title={t('login.expired')}>
        <Text size="sm" c="dimmed" mb={16}>
          {t('login.expiredText')}
        </Text>
        <SignInForm
          done={async () => {
            await queryClient.invalidateQueries();
          }}
        />
      </Modal>
    </div>
  );
}

/** `also`: addresses of single things that belong to this item. */
function Item({ icon, label, link, exact, also = [] }: { icon: ReactNode; label: string; link: LinkProps; exact?: boolean; also?: readonly string[] }) {
  const path = useLocation().pathname;
  const inside = also.some((a) => path.startsWith(a));
  return (
    <li>
      <Link {...link} className={`nav-item ${inside ? 'active' : ''}`} activeOptions={{ exact: exact ?? false, includeSearch: false }} activeProps={{ className: 'active', 'aria-current': 'page' }}>
        {icon}
        {label}
      </Link>
    </li>
  );
}

function Navigation({ tenantId, admin, read, manage }: { tenantId: string | undefined; admin: boolean; read: boolean; manage: boolean }) {
  const { t } = useTranslation();
  const icon = { size: 17, stroke: 1.7, 'aria-hidden': true } as const;
  const params = { tenantId: tenantId ?? '' };
  return (
    <ul>
      {tenantId && read && (
        <>
          <Item icon={<IconHome2 {...icon} />} label={t('nav.overview')} link={{ to: '/t/$tenantId', params }} exact />
          <Item icon={<IconAntenna {...icon} />} label={t('nav.gateways')} link={{ to: '/t/$tenantId/gateways', params }} also={['/gateways/']} />
          <Item icon={<IconBox {...icon} />} label={t('nav.applications')} link={{ to: '/t/$tenantId/applications', params }} also={['/applications/', '/multicast-groups/']} />
          <Item icon={<IconCpu {...icon} />} label={t('nav.devices')} link={{ to: '/t/$tenantId/devices', params }} also={['/devices/']} />
          <Item icon={<IconSettings2 {...icon} />} label={t('nav.profiles')} link={{ to: '/t/$tenantId/device-profiles', params }} also={['/device-profiles/']} />
        </>
      )}
      {(admin || read) && <li className="nav-line" aria-hidden />}
      {admin ? (
        <Item icon={<IconBuilding {...icon} />} label={t('nav.tenants')} link={{ to: '/tenants' }} />
      ) : (
        tenantId && read && <Item icon={<IconBuilding {...icon} />} label={t('nav.tenant')} link={{ to: '/tenants/$tenantId', params }} />
      )}
      {admin && <Item icon={<IconUsers {...icon} />} label={t('nav.users')} link={{ to: '/users' }} />}
      {tenantId && (manage || admin) && <Item icon={<IconKey {...icon} />} label={t('nav.apiKeys')} link={{ to: '/t/$tenantId/api-keys', params }} />}
    </ul>
  );
}

function TenantSwitcher({ tenantId }: { tenantId: string | undefined }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const location = useLocation();
  const [text, setText] = useState<string>();
  const current = useQuery(q.tenant(tenantId ?? ''));
  const name = current.data?.tenant?.name;
  const choice = useQuery(q.tenantChoice(text !== undefined && text !== name ? text : ''));
  const data = (choice.data?.result ?? []).map((x) => ({ value: x.id, label: x.name }));
  if (tenantId && name && !data.some((x) => x.value === tenantId)) data.unshift({ value: tenantId, label: name });
  return (
    <Select
      aria-label={t('shell.tenant')}
      placeholder={t('shell.tenant')}
      w={{ base: 150, sm: 200 }}
      size="sm"
      data={data}
      value={tenantId ?? null}
      allowDeselect={false}
      searchable
      onSearchChange={setText}
      filter={({ options }) => options}
      nothingFoundMessage={t('common.noMatch')}
      leftSection={<IconBuilding size={15} aria-hidden />}
      onChange={(id) => {
        if (!id || id === tenantId) return;
        rememberTenant(id);
        // The same list of the other tenant; from a page about one thing, to the overview.
        const list = /^\/t\/[^/]+\/(gateways|applications|devices|device-profiles|api-keys)$/.exec(location.pathname)?.[1];
        if (list) void navigate({ to: `/t/$tenantId/${list}` as '/t/$tenantId/gateways', params: { tenantId: id }, search: {} });
        else void navigate({ to: '/t/$tenantId', params: { tenantId: id } });
      }}
    />
  );
}

function LiveIndicator() {
  const { t } = useTranslation();
  const state = useLiveState();
  const tone = state === 'open' ? 'ok' : state === 'waiting' ? 'bad' : state === 'connecting' ? 'warn' : 'off';
  return (
    <Tooltip label={t(`live.stateText.${state}`)}>
      <span role="status" aria-label={`${t('live.connection')}: ${t(`live.state.${state}`)}`} style={{ padding: '0 6px', fontSize: 12.5, minWidth: 66 }} className="wide" tabIndex={0}>
        <State tone={tone}>{t(`live.state.${state}`)}</State>
      </span>
    </Tooltip>
  );
}

function ThemeMenu() {
  const { t } = useTranslation();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const icons: Record<MantineColorScheme, ReactNode> = { light: <IconSun size={18} />, dark: <IconMoon size={18} />, auto: <IconDeviceDesktop size={18} /> };
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" size={34} aria-label={t('shell.theme')}>
          {icons[colorScheme]}
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {(['light', 'dark', 'auto'] as const).map((s) => (
          <Menu.Item key={s} aria-current={s === colorScheme || undefined} leftSection={icons[s]} onClick={() => setColorScheme(s)} fw={s === colorScheme ? 600 : 400}>
            {t(`shell.theme_${s}`)}
          </Menu.Item>
        ))}
      </Menu.Dropdown>
    </Menu>
  );
}

function LanguageItems() {
  const { i18n } = useTranslation();
  return (Object.keys(LANGUAGES) as Language[])
    .filter((l) => l !== i18n.language)
    .map((l) => (
      <Menu.Item key={l} lang={l} leftSection={<IconLanguage size={16} />} onClick={() => void setLanguage(l)}>
        {LANGUAGES[l]}
      </Menu.Item>
    ));
}
