/* MAC commands of one's own: queued by name, by fields and by identifier, sent, answered, taken back; and who may not. */
import { expect, test, type Page } from '@playwright/test';
import { Device, place, type Place } from './device';
import { Api, look, signIn, unique, url } from './lib';

test.use({ colorScheme: 'light', contextOptions: { reducedMotion: 'reduce' } });
test.describe.configure({ timeout: 480_000 }); // axe is slow where the machine is

let at: Place;
let d: Device;
test.beforeAll(async ({ request }) => {
  const api = await Api.open(request);
  at = await place(api, 'mac');
  d = await Device.open(api, at, `mac ${unique}`);
});
test.afterAll(async ({ request }) => {
  d.close();
  await (await Api.open(request)).call('DELETE', `/api/tenants/${at.tenantId}`);
});

const path = () => `/devices/${d.devEui}/mac-commands`;
const form = (page: Page) => page.getByRole('form', { name: 'Send a MAC command' });
const button = (page: Page) => form(page).getByRole('button', { name: 'Queue command' });
const waiting = (page: Page) => page.getByRole('table', { name: 'Waiting' });
const recent = (page: Page) => page.getByRole('region', { name: 'In recent frames' });
async function choose(page: Page, command: string) {
  await form(page).getByRole('textbox', { name: 'Command' }).click();
  await page.getByRole('option', { name: command }).click();
}

test('MAC commands: without a session, then by fields and by identifier, sent and answered', async ({ page, request }) => {
  await page.route('**/api/live/overview**', (route) => route.abort()); // the page's own stream is enough
  await signIn(page, `/devices/${d.devEui}`);
  await page.getByRole('navigation', { name: 'Sections' }).getByRole('link', { name: 'MAC commands' }).click();
  await expect(page.getByRole('alert', { name: 'The device is not activated' })).toBeVisible();
  await expect(page.getByRole('main').getByRole('link', { name: 'Activation' })).toHaveCount(2); // the tab, and the way to a session
  await expect(form(page)).toHaveCount(0);
  await look(page, 'mac-not-activated');

  await d.activate(await Api.open(request));
  await page.reload();
  await expect(page.getByText('No command waits')).toBeVisible();
  await expect(form(page).getByTestId('on-air')).toHaveText('06');
  await button(page).click();
  await expect(waiting(page).getByRole('cell', { name: 'DevStatusReq' })).toBeVisible();

  await choose(page, 'DutyCycleReq (0x04)');
  await button(page).click();
  await expect(form(page).getByText('A whole number from 0 to 15')).toBeVisible();
  await expect(form(page).getByLabel('MaxDutyCycle')).toBeFocused();
  await expect(form(page).getByRole('link', { name: 'mac profile' })).toBeVisible(); // where it is changed for good
  await look(page, 'mac-refused');
  await form(page).getByLabel('MaxDutyCycle').fill('5');
  await expect(form(page).getByTestId('on-air')).toHaveText('04 05');
  await form(page).getByText('Hex', { exact: true }).click();
  const payload = form(page).getByLabel('Payload in hex');
  await expect(payload).toHaveValue('05');
  await payload.fill('0');
  await button(page).click();
  await expect(form(page).getByText('Not hexadecimal: an even number of the digits')).toBeVisible();
  await payload.fill('05 06');
  await expect(form(page).getByTestId('on-air')).toHaveText('–');
  await payload.fill('07');
  await form(page).getByText('Fields', { exact: true }).click();
  await expect(form(page).getByLabel('MaxDutyCycle')).toHaveValue('7');
  await form(page).getByLabel('MaxDutyCycle').fill('5');
  await button(page).click();
  await expect(waiting(page).getByRole('row', { name: 'DutyCycleReq max_duty_cycle=1/32' })).toBeVisible();
  await expect(form(page).getByLabel('MaxDutyCycle')).toHaveValue(''); // nothing is sent twice by a second click

  await choose(page, 'By its identifier, also proprietary');
  await payload.fill('c0 ff ee');
  await expect(form(page).getByText('no one else knows its length')).toBeVisible();
  await button(page).click();
  await expect(waiting(page).getByRole('row', { name: 'CID 0x80 c0 ff ee' })).toBeVisible();
  await expect(page.getByText('7 of 48 bytes')).toBeVisible();
  await look(page, 'mac-waiting');

  d.send();
  await expect(page.getByText('No command waits')).toBeVisible();
  await expect.poll(() => d.heard.join(' ')).toContain('06040580c0ffee');
  await expect(recent(page).getByText('c0 ff ee')).toBeVisible();
  d.send({ fopts: '06ff080480beef' });
  await expect(recent(page).getByText('battery=255 margin=8')).toBeVisible();
  await expect(recent(page).getByText('be ef', { exact: true })).toBeVisible();
  d.send(); // without MAC commands: no row; what comes after it has one
  d.send({ fopts: '0482' });
  await expect(recent(page).getByText('CID 0x82')).toBeVisible();
  await expect(recent(page).getByRole('listitem').filter({ hasNotText: /Req|Ans|CID/ })).toHaveCount(0);
  await look(page, 'mac-answered');

  await page.goto(new URL(`/devices/${d.devEui}/live?show=events&text=mac`, url()).href);
  await expect(page.getByText('MAC commands of the device · 04 80 be ef')).toBeVisible();
});

test('MAC commands are taken back', async ({ page, request }) => {
  await d.activate(await Api.open(request));
  await signIn(page, path());
  await button(page).click();
  await page.getByRole('button', { name: 'Take back' }).click();
  await expect(page.getByRole('dialog')).toBeVisible();
  await look(page, 'mac-take-back');
  await page.getByRole('dialog').getByRole('button', { name: 'Take back' }).click();
  await expect(page.getByText('No command waits')).toBeVisible();
});

test('what the API refuses of MAC commands stands at the field that it is about', async ({ page, request }) => {
  await d.activate(await Api.open(request));
  await signIn(page, path());
  await choose(page, 'By its identifier, also proprietary');
  const cid = form(page).getByLabel('Identifier (CID)');
  const payload = form(page).getByLabel('Payload in hex');
  await cid.fill('7f');
  await button(page).click();
  await expect(form(page).getByText('there is an identifier of no MAC command that a network sends')).toBeVisible();
  await expect(cid).toBeFocused();
  await cid.fill('0e');
  await expect(form(page).getByText('no one else knows its length')).toHaveCount(0);
  await payload.fill('05');
  await button(page).click();
  await expect(form(page).getByText('the last of the MAC commands is cut off')).toBeVisible();
  await expect(payload).toBeFocused();
  await cid.fill('80');
  await payload.fill('11'.repeat(48));
  await button(page).click();
  await expect(form(page).getByRole('alert')).toContainText('more MAC commands than may wait for a device');
  await expect(payload).toHaveValue('11'.repeat(48));
  await expect(form(page).getByText('49 bytes · 48 of 48 bytes are free')).toBeVisible();
  await look(page, 'mac-too-many');
});

test('MAC commands: a reader sees what waits, and why nothing can be sent', async ({ page, request }) => {
  const api = await Api.open(request);
  await d.activate(api);
  await api.call('POST', `/api/longwave/devices/${d.devEui}/mac-commands`, { commands: Buffer.from('06', 'hex').toString('base64') });
  const email = `mac-reader-${unique}@example.com`;
  const { id } = await api.call<{ id: string }>('POST', '/api/users', { user: { email, isActive: true }, password: 'reader-secret', tenants: [{ tenantId: at.tenantId }] });
  await signIn(page, path(), email, 'reader-secret');
  await expect(waiting(page).getByRole('cell', { name: 'DevStatusReq' })).toBeVisible();
  await expect(page.getByText('Sending them takes the right to change devices of this application')).toBeVisible();
  await expect(form(page)).toHaveCount(0);
  await expect(page.getByRole('button', { name: 'Take back' })).toHaveCount(0);
  await look(page, 'mac-reader');
  await api.call('DELETE', `/api/users/${id}`);
});
