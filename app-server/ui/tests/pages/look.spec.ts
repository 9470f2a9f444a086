/* Every page in light, dark and on a phone: it loads without an error, nothing overflows, axe finds nothing. */
import { expect, test, type APIRequestContext, type Page } from '@playwright/test';
import { accessible, Api, demo, signIn, unique } from './lib';

type Places = Awaited<ReturnType<typeof demo>> & { groupId: string; userId: string };
const pages: Record<string, (d: Places) => string> = {
  overview: (d) => `/t/${d.tenantId}`,
  gateways: (d) => `/t/${d.tenantId}/gateways`,
  'gateway overview': (d) => `/gateways/${d.gatewayId}`,
  'gateway live': (d) => `/gateways/${d.gatewayId}/live`,
  'gateway statistics': (d) => `/gateways/${d.gatewayId}/statistics`,
  'gateway configuration': (d) => `/gateways/${d.gatewayId}/configuration`,
  'gateway new': (d) => `/t/${d.tenantId}/gateways/new`,
  'device profiles': (d) => `/t/${d.tenantId}/device-profiles`,
  'device profile': (d) => `/device-profiles/${d.profileId}`,
  applications: (d) => `/t/${d.tenantId}/applications`,
  application: (d) => `/applications/${d.applicationId}`,
  'application events': (d) => `/applications/${d.applicationId}/events`,
  'application integrations': (d) => `/applications/${d.applicationId}/integrations`,
  'application multicast': (d) => `/applications/${d.applicationId}/multicast`,
  'application new': (d) => `/t/${d.tenantId}/applications/new`,
  'multicast new': (d) => `/applications/${d.applicationId}/multicast/new`,
  'multicast queue': (d) => `/multicast-groups/${d.groupId}`,
  'multicast members': (d) => `/multicast-groups/${d.groupId}/members`,
  'multicast configuration': (d) => `/multicast-groups/${d.groupId}/configuration`,
  'device profile new': (d) => `/t/${d.tenantId}/device-profiles/new`,
  'application configuration': (d) => `/applications/${d.applicationId}/configuration`,
  devices: (d) => `/t/${d.tenantId}/devices`,
  'device overview': (d) => `/devices/${d.devEui}`,
  'device live': (d) => `/devices/${d.devEui}/live`,
  'device events': (d) => `/devices/${d.devEui}/live?show=events`,
  'device statistics': (d) => `/devices/${d.devEui}/statistics`,
  'device queue': (d) => `/devices/${d.devEui}/queue`,
  'device mac commands': (d) => `/devices/${d.devEui}/mac-commands`,
  'device keys': (d) => `/devices/${d.devEui}/keys`,
  'device activation': (d) => `/devices/${d.devEui}/activation`,
  'device configuration': (d) => `/devices/${d.devEui}/configuration`,
  'device new': (d) => `/applications/${d.applicationId}/devices/new`,
  tenants: () => '/tenants',
  'tenant new': () => '/tenants/new',
  tenant: (d) => `/tenants/${d.tenantId}`,
  'tenant users': (d) => `/tenants/${d.tenantId}/users`,
  users: () => '/users',
  'user new': () => '/users/new',
  user: (d) => `/users/${d.userId}`,
  'api keys': (d) => `/t/${d.tenantId}/api-keys`,
  'no such page': () => '/nowhere',
};

/** The demonstration with a multicast group, which `done` removes. */
async function places(request: APIRequestContext): Promise<Places & { done: () => Promise<unknown> }> {
  const d = await demo(request);
  const api = await Api.open(request);
  const key = '0123456789abcdef0123456789abcdef';
  const multicastGroup = { name: `everyone ${unique}`, applicationId: d.applicationId, region: 'EU868', mcAddr: '01020304', mcNwkSKey: key, mcAppSKey: key, groupType: 'CLASS_C', dr: 3, frequency: 869_525_000 };
  const { id } = await api.call<{ id: string }>('POST', '/api/multicast-groups', { multicastGroup });
  await api.call('POST', `/api/multicast-groups/${id}/devices`, { devEui: d.devEui });
  await api.call('POST', `/api/multicast-groups/${id}/gateways`, { gatewayId: d.gatewayId });
  const { result } = await api.call<{ result: { id: string }[] }>('GET', '/api/users?limit=1');
  return { ...d, groupId: id, userId: result[0]?.id ?? '', done: () => api.call('DELETE', `/api/multicast-groups/${id}`) };
}

async function settled(page: Page) {
  await expect(page.locator('main').getByRole('heading').first()).toBeVisible();
  await expect(page.locator('main .mantine-Skeleton-root')).toHaveCount(0);
}

for (const scheme of ['light', 'dark'] as const) {
  test(`every page in ${scheme} passes axe`, async ({ browser, request }) => {
    test.setTimeout(600_000);
    const d = await places(request);
    const context = await browser.newContext({ colorScheme: scheme, reducedMotion: 'reduce', locale: 'en-GB', viewport: { width: 1280, height: 860 } });
    const page = await context.newPage();
    const wrong: string[] = [];
    page.on('pageerror', (e) => wrong.push(e.message));
    // An application without an HTTP integration is answered with 404.
    page.on('console', (m) => m.type() === 'error' && !/\/integrations\/http$/.test(m.location().url) && wrong.push(m.text()));
    await page.goto(new URL('/login', process.env.LONGWAVE_URL).href);
    await accessible(page, 'login');
    await signIn(page);
    await expect(page.locator('html')).toHaveAttribute('data-mantine-color-scheme', scheme);
    for (const [name, path] of Object.entries(pages)) {
      await test.step(name, async () => {
        await page.goto(new URL(path(d), process.env.LONGWAVE_URL).href);
        await settled(page);
        if (name === 'device live') {
          await page.getByRole('button', { name: 'Pause' }).click();
          await page.getByRole('feed').getByRole('button').first().click();
        }
        // What differs in dark are the colours.
        await accessible(page, `${name}, ${scheme}`, scheme === 'dark' ? ['color-contrast'] : undefined);
      });
    }
    expect(wrong).toEqual([]);
    await context.close();
    await d.done();
  });
}

test('on a phone nothing overflows and the menu leads everywhere', async ({ browser, request }) => {
  test.setTimeout(600_000);
  const d = await places(request);
  const context = await browser.newContext({ viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, locale: 'en-GB' });
  const page = await context.newPage();
  await signIn(page);
  for (const [name, path] of Object.entries(pages)) {
    await page.goto(new URL(path(d), process.env.LONGWAVE_URL).href);
    await settled(page);
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    expect(over, name).toBeLessThanOrEqual(0);
    const tab = page.locator('.tabs a.active');
    if ((await tab.count()) > 0) await expect(tab, name).toBeInViewport({ ratio: 0.9 });
  }
  await page.goto(new URL(`/t/${d.tenantId}`, process.env.LONGWAVE_URL).href);
  await page.getByRole('button', { name: 'Menu' }).click();
  await page.getByRole('navigation', { name: 'Main navigation' }).getByRole('link', { name: 'Gateways' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Gateways' })).toBeVisible();
  await context.close();
  await d.done();
});

test('the theme is chosen, kept, and set before the first paint', async ({ page }) => {
  await signIn(page);
  await page.getByRole('button', { name: 'Colours' }).click();
  await page.getByRole('menuitem', { name: 'Dark' }).click();
  await expect(page.locator('html')).toHaveAttribute('data-mantine-color-scheme', 'dark');
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  expect(await background()).toBe('rgb(18, 22, 27)');
  await page.route('**/assets/*.js', (route) => route.abort());
  await page.reload();
  await expect(page.locator('html')).toHaveAttribute('data-mantine-color-scheme', 'dark');
});

test('German, chosen in the account menu, is kept', async ({ page }) => {
  await signIn(page);
  await page.getByRole('button', { name: 'Account' }).click();
  await page.getByRole('menuitem', { name: 'Deutsch' }).click();
  const nav = page.getByRole('navigation', { name: 'Hauptnavigation' });
  await expect(nav.getByRole('link', { name: 'Anwendungen' })).toBeVisible();
  await page.reload();
  await expect(nav.getByRole('link', { name: 'Anwendungen' })).toBeVisible();
  await expect(page.locator('html')).toHaveAttribute('lang', 'de');
});

test('lists keep their state in the address; back goes back; a link opens in a second window', async ({ page, context, request }) => {
  const { tenantId } = await demo(request);
  await signIn(page, `/t/${tenantId}/gateways`);
  await page.getByRole('button', { name: 'Last seen' }).click();
  await expect(page).toHaveURL(/sort=LAST_SEEN_AT/);
  await page.getByRole('textbox', { name: 'Search', exact: true }).fill('no such gateway');
  await expect(page.getByText('Nothing matches.')).toBeVisible();
  const second = await context.newPage();
  await second.goto(page.url());
  await expect(second.getByRole('textbox', { name: 'Search', exact: true })).toHaveValue('no such gateway');
  await expect(second.getByText('Nothing matches.')).toBeVisible();
  await second.close();
  await page.goBack();
  await expect(page).not.toHaveURL(/sort=/);
  await expect(page.getByRole('heading', { level: 1, name: 'Gateways' })).toBeVisible();
});
