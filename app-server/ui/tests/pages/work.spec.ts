/* An operator's work from sign-in to a device with keys and a downlink, through the pages alone. */
import { expect, test } from '@playwright/test';
import { Api, hex, password, signIn, unique, url } from './lib';

test.describe.configure({ mode: 'serial' });

const name = `ui ${unique}`;
const devEui = hex(16);
const gatewayId = hex(16);
let tenantId = '';
let applicationId = '';

test('a wrong password is refused in the words of the API; the right one leads back to the page', async ({ page }) => {
  await page.goto(new URL('/users', url()).href);
  await expect(page).toHaveURL(/\/login\?next=/);
  await page.getByLabel('User or e-mail').fill('admin');
  await page.getByLabel('Password', { exact: true }).fill('not the password');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page.getByRole('alert')).toBeVisible();
  await expect(page.getByLabel('User or e-mail')).toHaveValue('admin');
  await page.getByLabel('Password', { exact: true }).fill(password());
  await page.getByRole('button', { name: 'Sign in' }).click();
  await expect(page).toHaveURL(/\/users$/);
  await expect(page.getByRole('cell', { name: 'admin', exact: true })).toBeVisible();
});

test('a tenant; empty, it shows the way to the first uplink', async ({ page }) => {
  await signIn(page, '/tenants/new');
  await page.getByRole('button', { name: 'Add tenant' }).click();
  await expect(page.getByText('name is not set')).toBeVisible();
  await page.getByLabel('Name', { exact: true }).fill(name);
  await page.getByRole('button', { name: 'Add tenant' }).click();
  await expect(page.getByRole('heading', { level: 1, name })).toBeVisible();
  tenantId = /\/tenants\/([0-9a-f-]+)/.exec(page.url())?.[1] ?? '';
  expect(tenantId).toHaveLength(36);
  await page.getByRole('link', { name: 'Open' }).click();
  await expect(page.getByRole('heading', { name: 'To your first uplink' })).toBeVisible();
});

test('a gateway; errors stand at their field and lose nothing', async ({ page }) => {
  await signIn(page, `/t/${tenantId}/gateways`);
  await page.getByRole('link', { name: 'Add gateway' }).first().click();
  await page.getByLabel('Gateway ID').fill('12 34');
  await page.getByLabel('Name', { exact: true }).fill(`${name} gateway`);
  await page.getByRole('button', { name: 'Add gateway' }).click();
  await expect(page.getByText(/gateway_id is not an EUI/)).toBeVisible();
  await expect(page.getByLabel('Gateway ID')).toBeFocused();
  await expect(page.getByLabel('Name', { exact: true })).toHaveValue(`${name} gateway`);
  await page.getByLabel('Gateway ID').fill(gatewayId.toUpperCase().replace(/(..)(?=.)/g, '$1:'));
  await page.getByRole('button', { name: 'Add gateway' }).click();
  await expect(page).toHaveURL(new RegExp(`/gateways/${gatewayId}$`));
  await expect(page.getByRole('main').getByText('never seen')).toBeVisible();
  await page.goBack();
  await page.getByRole('link', { name: 'Gateways' }).first().click();
  await expect(page.getByRole('cell', { name: `${name} gateway`, exact: true })).toBeVisible();
});

test('a device profile, an application, a device with its key', async ({ page }) => {
  await signIn(page, `/t/${tenantId}/device-profiles/new`);
  await page.getByLabel('Name', { exact: true }).fill(`${name} profile`);
  await page.getByRole('button', { name: 'Add device profile' }).click();
  await expect(page.getByRole('link', { name: `${name} profile` })).toBeVisible();

  await page.getByRole('navigation', { name: 'Main navigation' }).getByRole('link', { name: 'Applications' }).click();
  await page.getByRole('link', { name: 'Add application' }).first().click();
  await page.getByLabel('Name', { exact: true }).fill(`${name} application`);
  await page.getByRole('button', { name: 'Add application' }).click();
  await expect(page.getByRole('heading', { level: 1, name: `${name} application` })).toBeVisible();
  applicationId = /\/applications\/([0-9a-f-]+)/.exec(page.url())?.[1] ?? '';

  await page.getByRole('link', { name: 'Add device' }).first().click();
  await page.getByLabel('DevEUI').fill('xyz');
  await page.getByLabel('Name', { exact: true }).fill(`${name} device`);
  await expect(page.getByRole('textbox', { name: 'Device profile' })).toHaveValue(new RegExp(`${name} profile`));
  await page.getByRole('button', { name: 'Add device' }).click();
  await expect(page.getByText(/dev_eui is not an EUI/)).toBeVisible();
  await page.getByLabel('DevEUI').fill(devEui);
  await page.getByRole('button', { name: 'Add device' }).click();

  await expect(page).toHaveURL(new RegExp(`/devices/${devEui}/keys$`));
  await page.getByRole('button', { name: 'Add keys' }).click();
  await page.getByRole('textbox', { name: 'AppKey', exact: true }).fill('00112233');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByText(/nwk_key is not a key/)).toBeVisible();
  await page.getByRole('textbox', { name: 'AppKey', exact: true }).fill('00112233445566778899aabbccddeeff');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByRole('dialog')).toBeHidden();
  // Hidden until asked for.
  await expect(page.getByText('00 11 22 33', { exact: false })).toBeHidden();
  await page.getByRole('button', { name: 'Show AppKey' }).click();
  await expect(page.getByText('00 11 22 33 44 55 66 77 88 99 aa bb cc dd ee ff')).toBeVisible();
});

test('search finds the device by its EUI', async ({ page }) => {
  await signIn(page, `/t/${tenantId}`);
  await page.keyboard.press('Control+k');
  await page.getByPlaceholder('EUI, name, tag or DevAddr').fill(devEui);
  await page.getByText(`${name} device`).click();
  await expect(page).toHaveURL(new RegExp(`/devices/${devEui}$`));
});

test('a session that ends keeps the form', async ({ page }) => {
  await signIn(page, `/t/${tenantId}/applications/new`);
  await page.getByLabel('Name', { exact: true }).fill('typed before');
  await page.route('**/api/applications', (route) => route.fulfill({ status: 401, json: { code: 16, message: 'token has expired', details: [] } }), { times: 1 });
  await page.getByRole('button', { name: 'Add application' }).click();
  const dialog = page.getByRole('dialog');
  await expect(dialog.getByText('Your session has ended')).toBeVisible();
  await dialog.getByLabel('User or e-mail').fill('admin');
  await dialog.getByLabel('Password', { exact: true }).fill(password());
  await dialog.getByRole('button', { name: 'Sign in' }).click();
  await expect(dialog).toBeHidden();
  await expect(page.getByLabel('Name', { exact: true })).toHaveValue('typed before');
});

test('what a role may not do is not offered', async ({ page, request }) => {
  const api = await Api.open(request);
  const email = `reader-${unique}@example.com`;
  await api.call('POST', '/api/users', { user: { email, isActive: true }, password: 'reader-secret', tenants: [{ tenantId }] });
  await signIn(page, `/t/${tenantId}/gateways`, email, 'reader-secret');
  await expect(page.getByRole('cell', { name: `${name} gateway`, exact: true })).toBeVisible();
  await expect(page.getByRole('link', { name: 'Add gateway' })).toHaveCount(0);
  const nav = page.getByRole('navigation', { name: 'Main navigation' });
  await expect(nav.getByRole('link', { name: 'Devices' })).toBeVisible();
  for (const hidden of ['Users', 'API keys', 'Tenants']) await expect(nav.getByRole('link', { name: hidden, exact: true })).toHaveCount(0);
  // Configuration pages have no tab for a reader; by their address they show what is set, and offer no change.
  const { id: groupId } = await api.call<{ id: string }>('POST', '/api/multicast-groups', {
    multicastGroup: { name: `${name} group`, applicationId, region: 'EU868', mcAddr: '11000079', mcNwkSKey: hex(32), mcAppSKey: hex(32), groupType: 'CLASS_C', dr: 3, frequency: 869525000, fCnt: 0 },
  });
  const { result } = await api.call<{ result: { id: string }[] }>('GET', `/api/device-profiles?limit=1&tenantId=${tenantId}`);
  const configured = [`gateways/${gatewayId}`, `applications/${applicationId}`, `devices/${devEui}`, `multicast-groups/${groupId}`].map((path) => `${path}/configuration`);
  for (const path of [...configured, `tenants/${tenantId}`, `device-profiles/${result[0]?.id}`]) {
    await page.goto(new URL(`/${path}`, url()).href);
    const field = page.getByLabel('Name', { exact: true });
    await expect(field).toHaveValue(new RegExp(name));
    await expect(field).toBeDisabled();
    await expect(page.getByText('For reading only: you have no right to change this.').filter({ visible: true })).toHaveCount(1);
    await expect(page.getByRole('button', { name: /^(Add|Remove row|Generate)/ })).toHaveCount(0);
    await expect(page.getByRole('button', { name: /^(Save|Delete)/ })).toHaveCount(0);
  }
});

test("an API key's token is shown once", async ({ page }) => {
  await signIn(page, `/t/${tenantId}/api-keys`);
  await page.getByRole('button', { name: 'Add API key' }).first().click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Name', { exact: true }).fill('export');
  await dialog.getByRole('button', { name: 'Add API key' }).click();
  await expect(dialog.getByTestId('token')).toHaveText(/.{40,}/);
  await dialog.getByRole('button', { name: 'Done' }).click();
  await expect(page.getByRole('cell', { name: 'export', exact: true })).toBeVisible();
  await page.getByRole('button', { name: 'Delete export' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await expect(page.getByText('No API keys yet')).toBeVisible();
});

test('deleting what takes others along asks for the name', async ({ page }) => {
  await signIn(page, `/applications/${applicationId}/configuration`);
  await page.getByRole('button', { name: 'Delete application' }).click();
  const dialog = page.getByRole('dialog');
  await expect(dialog.getByText('Its device goes with it')).toBeVisible();
  await expect(dialog.getByRole('button', { name: 'Delete', exact: true })).toBeDisabled();
  await dialog.getByLabel(`Type ${name} application to confirm`).fill(`${name} application`);
  await dialog.getByRole('button', { name: 'Delete', exact: true }).click();
  await expect(page).toHaveURL(new RegExp(`/t/${tenantId}/applications$`));
  await expect(page.getByText('No applications yet')).toBeVisible();
});
