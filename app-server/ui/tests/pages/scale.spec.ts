/* What has to be found among many: more things than a page of a list shows. */
import { expect, test } from '@playwright/test';
import { Api, demo, hex, signIn, unique } from './lib';

const MANY = 55; // a page has 50
// Slow machines make so many things slowly.
test.setTimeout(180_000);

test('members of a multicast group: any device is found, all are counted', async ({ page, request }) => {
  const { tenantId, profileId } = await demo(request);
  const api = await Api.open(request);
  const { id: applicationId } = await api.call<{ id: string }>('POST', '/api/applications', { application: { name: `many ${unique}`, tenantId } });
  const prefix = hex(12);
  const eui = (i: number) => `${prefix}${String(i).padStart(4, '0')}`;
  for (let i = 0; i < MANY; i++) await api.call('POST', '/api/devices', { device: { devEui: eui(i), name: `lamp ${String(i).padStart(3, '0')}`, applicationId, deviceProfileId: profileId } });
  const key = '0123456789abcdef0123456789abcdef';
  const { id } = await api.call<{ id: string }>('POST', '/api/multicast-groups', { multicastGroup: { name: `lamps ${unique}`, applicationId, region: 'EU868', mcAddr: '01020304', mcNwkSKey: key, mcAppSKey: key, groupType: 'CLASS_C', dr: 3, frequency: 869_525_000 } });
  for (let i = 0; i < MANY - 1; i++) await api.call('POST', `/api/multicast-groups/${id}/devices`, { devEui: eui(i) });

  await signIn(page, `/multicast-groups/${id}/members`);
  const card = page.locator('section').filter({ has: page.getByRole('heading', { name: 'Devices' }) });
  await expect(card.getByText(`${MANY - 1} entries`)).toBeVisible();
  // By name, though it is not among the first that are offered; then by EUI.
  const add = page.getByRole('textbox', { name: 'Add a device …' });
  await add.fill(`lamp 0${MANY - 1}`);
  await page.getByRole('option', { name: `lamp 0${MANY - 1}` }).click();
  await expect(card.getByText(`${MANY} entries`)).toBeVisible();
  await expect(add).toHaveValue('');
  await card.getByRole('button', { name: 'Page 2' }).click();
  await expect(card.getByRole('link', { name: `lamp 0${MANY - 1}` })).toBeVisible();
  // The last page empties: the one before it is shown.
  for (let i = 50; i < MANY; i++) {
    await card.getByRole('button', { name: `Remove lamp 0${i}` }).click();
    await expect(card.getByText(`${MANY + 49 - i} entries`)).toBeVisible();
  }
  await expect(card.getByRole('link', { name: 'lamp 000' })).toBeVisible();
  await api.call('DELETE', `/api/applications/${applicationId}`);
});

test('a gateway that dropped is told, however many were never seen', async ({ page, request }) => {
  const { tenantId, gatewayId } = await demo(request);
  const api = await Api.open(request);
  const prefix = hex(12);
  const eui = (i: number) => `${prefix}${String(i).padStart(4, '0')}`;
  const { gateway } = await api.call<{ gateway: { name: string } & Record<string, unknown> }>('GET', `/api/gateways/${gatewayId}`);
  for (let i = 0; i < MANY; i++) await api.call('POST', '/api/gateways', { gateway: { gatewayId: eui(i), name: `planned ${i}`, tenantId, statsInterval: 30 } });
  // It reports every 30 s: two seconds after a report it is late.
  await api.call('PUT', `/api/gateways/${gatewayId}`, { gateway: { ...gateway, statsInterval: 1 } });
  try {
    await signIn(page, `/t/${tenantId}`);
    const dropped = page.locator('section').filter({ has: page.getByRole('heading', { name: 'Gateways that dropped' }) });
    await expect(async () => {
      await page.reload();
      await expect(dropped.getByRole('link', { name: gateway.name })).toBeVisible({ timeout: 4000 });
    }).toPass({ timeout: 60_000 });
  } finally {
    await api.call('PUT', `/api/gateways/${gatewayId}`, { gateway });
    for (let i = 0; i < MANY; i++) await api.call('DELETE', `/api/gateways/${eui(i)}`);
  }
});
