/* What pages say when something is wrong, asked, or just done: refusals at fields, dialogs, a server that is away, a right that
 * is missing, nothing found. Each is read by axe, too, in light and, for its colours, in dark. */
import { expect, test, type Page } from '@playwright/test';
import { accessible, Api, demo, hex, signIn, unique, url } from './lib';

const shot = async (page: Page, name: string) => {
  if (process.env.LONGWAVE_SHOTS) await page.screenshot({ path: `${process.env.LONGWAVE_SHOTS}/state-${name}.png` });
};

/** In both colour schemes; what fades in or out is waited for, as half a colour has half the contrast. */
async function check(page: Page, name: string) {
  await page.waitForFunction(() => document.getAnimations().every((a) => a.playState !== 'running' || a.effect?.getComputedTiming().iterations === Infinity));
  await accessible(page, name);
  await shot(page, name);
  await page.emulateMedia({ colorScheme: 'dark' });
  await expect(page.locator('html')).toHaveAttribute('data-mantine-color-scheme', 'dark');
  await accessible(page, `${name}, dark`, ['color-contrast']);
  await shot(page, `${name}-dark`);
  await page.emulateMedia({ colorScheme: 'light' });
  await expect(page.locator('html')).toHaveAttribute('data-mantine-color-scheme', 'light');
}

test.use({ colorScheme: 'light', contextOptions: { reducedMotion: 'reduce' } });

test.describe.configure({ timeout: 480_000 }); // axe is slow where the machine is

type Places = Awaited<ReturnType<typeof demo>>;
const refused: [name: string, path: (d: Places) => string, button: string, text: RegExp][] = [
  ['gateway', (d) => `/t/${d.tenantId}/gateways/new`, 'Add gateway', /gateway_id is not an EUI/],
  ['application', (d) => `/t/${d.tenantId}/applications/new`, 'Add application', /name is not set/],
  ['profile', (d) => `/t/${d.tenantId}/device-profiles/new`, 'Add device profile', /name is not set/],
  ['device', (d) => `/applications/${d.applicationId}/devices/new`, 'Add device', /name is not set/],
  ['group', (d) => `/applications/${d.applicationId}/multicast/new`, 'Add multicast group', /name is not set/],
  ['tenant', () => '/tenants/new', 'Add tenant', /name is not set/],
  ['user', () => '/users/new', 'Add user', /is not/],
];
for (const [name, path, button, text] of refused)
  test(`a form that is refused: ${name}`, async ({ page, request }) => {
    await signIn(page, path(await demo(request)));
    await page.getByRole('main').getByRole('button', { name: button, exact: true }).click();
    await expect(page.getByText(text).first()).toBeVisible();
    await check(page, `refused-${name}`);
  });

test('the notice of a form that is saved', async ({ page, request }) => {
  const d = await demo(request);
  await signIn(page);
  const api = await Api.open(request);
  const { id } = await api.call<{ id: string }>('POST', '/api/applications', { application: { name: `states ${unique}`, tenantId: d.tenantId } });
  await page.goto(new URL(`/applications/${id}/configuration`, url()).href);
  const notice = page.getByRole('alert').filter({ hasText: 'Saved' });
  await expect(async () => {
    await page.getByRole('button', { name: 'Save' }).click();
    await notice.last().hover({ timeout: 4000 }); // it stays as long
  }).toPass({ timeout: 30_000 });
  await check(page, 'saved');
  await notice.last().getByRole('button', { name: 'Close' }).click();
  await expect(notice).toHaveCount(0);
  await api.call('DELETE', `/api/applications/${id}`);
});

test('dialogs, menus and the search', async ({ page, request }) => {
  const d = await demo(request);
  await signIn(page, `/t/${d.tenantId}/devices`);
  const open = async (name: string, path: string | undefined, button: string) =>
    test.step(name, async () => {
      if (path) await page.goto(new URL(path, url()).href);
      await page.getByRole('button', { name: button, exact: true }).click();
      await expect(page.getByRole('dialog')).toBeVisible();
      await check(page, `dialog-${name}`);
      await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();
      await expect(page.getByRole('dialog')).toHaveCount(0);
    });
  await open('delete-gateway', `/gateways/${d.gatewayId}/configuration`, 'Delete gateway');
  await open('delete-application', `/applications/${d.applicationId}/configuration`, 'Delete application');
  await open('delete-profile', `/device-profiles/${d.profileId}`, 'Delete');
  await open('keys', `/devices/${d.devEui}/keys`, 'Change keys');
  await open('deactivate', `/devices/${d.devEui}/activation`, 'Deactivate');
  await open('member', `/tenants/${d.tenantId}/users`, 'Add user to tenant');
  await page.goto(new URL(`/t/${d.tenantId}/api-keys`, url()).href);
  await page.getByRole('button', { name: 'Add API key' }).first().click();
  await check(page, 'dialog-api-key');
  await page.keyboard.press('Escape');

  for (const [name, button] of [['account', 'Account'], ['colours', 'Colours']] as const)
    await test.step(name, async () => {
      await page.getByRole('button', { name: button }).click();
      await expect(page.getByRole('menu')).toBeVisible();
      await check(page, `menu-${name}`);
      await page.keyboard.press('Escape');
      await expect(page.getByRole('menu')).toHaveCount(0);
    });
  await page.getByRole('button', { name: 'Account' }).click();
  await page.getByRole('menuitem', { name: 'Password' }).click();
  await expect(page.getByRole('dialog')).toBeVisible();
  await check(page, 'dialog-password');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Control+k');
  await page.getByPlaceholder('EUI, name, tag or DevAddr').fill('sensor');
  await expect(page.getByText(/^sensor/).first()).toBeVisible();
  await check(page, 'search');
});

test('a server that is away is told as such, and the page comes back with it', async ({ page, request }) => {
  const d = await demo(request);
  await signIn(page, `/t/${d.tenantId}/gateways`);
  await expect(page.getByRole('table', { name: 'Gateways' })).toBeVisible();
  let away = true;
  await page.route('**/api/**', (route) => (away ? route.abort('connectionrefused') : route.fallback()));
  await page.getByRole('navigation', { name: 'Main navigation' }).getByRole('link', { name: 'Applications' }).click();
  const failure = page.getByRole('alert').filter({ hasText: 'The server cannot be reached' });
  await expect(failure).toBeVisible({ timeout: 30_000 });
  await check(page, 'away');
  away = false;
  await failure.getByRole('button', { name: 'Try again' }).click();
  await expect(page.getByRole('table', { name: 'Applications' })).toBeVisible();
});

test('what is not there, or not for this user, is told in words', async ({ page, request }) => {
  const d = await demo(request);
  const api = await Api.open(request);
  const email = `stranger-${unique}@example.com`;
  await api.call('POST', '/api/users', { user: { email, isActive: true }, password: 'stranger-secret' });
  await signIn(page, `/devices/${hex(16)}`);
  await expect(page.getByRole('alert').filter({ hasText: 'Not there, or not yours to see' })).toBeVisible();
  await check(page, 'missing');
  await page.getByRole('button', { name: 'Account' }).click();
  await page.getByRole('menuitem', { name: 'Sign out' }).click();
  await page.goto(new URL(`/gateways/${d.gatewayId}`, url()).href);
  await page.getByLabel('User or e-mail').fill(email);
  await page.getByLabel('Password', { exact: true }).fill('stranger-secret');
  await page.getByRole('button', { name: 'Sign in' }).click();
  const refused = page.getByRole('alert').filter({ hasText: 'Not there, or not yours to see' });
  await expect(refused).toContainText('not permitted');
  await check(page, 'forbidden');
  await refused.getByRole('link', { name: 'To the overview' }).click();
  await expect(refused).toHaveCount(0);
});
