/* Frames as they arrive, with outcome and reason; a downlink into the queue. */
import { readFile } from 'node:fs/promises';
import { expect, test } from '@playwright/test';
import { Api, demo, signIn } from './lib';

test('frames of a device: counters rise, a row opens to the whole story', async ({ page, request }) => {
  const { devEui } = await demo(request);
  await signIn(page, `/devices/${devEui}/live`);
  await expect(page.getByRole('status', { name: /Live connection: live/ })).toBeVisible();
  const ups = page.getByRole('feed', { name: 'Frames' }).getByRole('button').filter({ hasText: /DataUp/ });
  await expect(ups.first()).toContainText('Delivered');
  const before = await ups.first().innerText();
  await expect(ups.first()).not.toHaveText(before, { timeout: 40_000 });

  await page.getByRole('button', { name: 'Pause' }).click();
  await ups.first().click();
  const detail = page.locator('.live-detail');
  await expect(detail.getByText('Counter and MIC')).toBeVisible();
  await expect(detail.getByRole('region', { name: 'Received by' }).getByRole('row')).not.toHaveCount(1);
  const field = detail.getByText('DevAddr', { exact: true }).first();
  await field.hover();
  await expect(detail.getByTestId('hex').locator('.on')).toHaveText(/^([0-9a-f]{2} ){3}[0-9a-f]{2}$/);
  await ups.first().click();
  await expect(detail).toHaveCount(0);
});

test('paused, nothing moves; going on shows what came; filter and download', async ({ page, request }) => {
  const { gatewayId } = await demo(request);
  await signIn(page, `/gateways/${gatewayId}/live`);
  const rows = page.getByRole('feed', { name: 'Frames' }).getByRole('button');
  await expect(rows.first()).toBeVisible();
  await page.getByRole('button', { name: 'Pause' }).click();
  const still = await rows.first().innerText();
  await expect(page.getByRole('button', { name: /Go on \(\d+ new\)/ })).toBeVisible({ timeout: 40_000 });
  expect(await rows.first().innerText()).toBe(still);
  await page.getByRole('button', { name: /Go on/ }).click();
  await expect(rows.first()).not.toHaveText(still);

  await page.getByRole('button', { name: 'Uplink', exact: true }).click();
  await expect(page).toHaveURL(/dir=up/);
  const started = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Download as JSON' }).click();
  const file = await (await started).path();
  const frames = JSON.parse(await readFile(file, 'utf8')) as { uplink: boolean; outcome: string }[];
  expect(frames.length).toBeGreaterThan(0);
  expect(frames.every((f) => f.uplink)).toBe(true);
  await page.getByRole('textbox', { name: 'Search', exact: true }).fill('nothing like this');
  await expect(page.getByText('Nothing matches.')).toBeVisible();
  await page.reload();
  await expect(page.getByRole('textbox', { name: 'Search', exact: true })).toHaveValue('nothing like this');
});

test('a dropped frame names its reason', async ({ page, request }) => {
  const { devEui } = await demo(request);
  const api = await Api.open(request);
  const before = await api.call<{ device: Record<string, unknown> }>('GET', `/api/devices/${devEui}`);
  await api.call('PUT', `/api/devices/${devEui}`, { device: { ...before.device, isDisabled: true } });
  try {
    await signIn(page, `/devices/${devEui}/live`);
    const dropped = page.getByRole('feed', { name: 'Frames' }).getByRole('button').filter({ hasText: 'Dropped' });
    await expect(dropped.first()).toContainText('device is disabled', { timeout: 40_000 });
  } finally {
    await api.call('PUT', `/api/devices/${devEui}`, { device: before.device });
  }
});

test('events carry the payload in the clear', async ({ page, request }) => {
  const { devEui } = await demo(request);
  await signIn(page, `/devices/${devEui}/live?show=events`);
  const rows = page.getByRole('feed', { name: 'Events' }).getByRole('button').filter({ hasText: /^\S*\s*up/m });
  await expect(rows.first()).toBeVisible({ timeout: 40_000 });
  await rows.first().click();
  await expect(page.locator('.live-detail').getByText('"deviceInfo"')).toBeVisible();
});

test('a downlink: errors at the field, then in the queue', async ({ page, request }) => {
  const api = await Api.open(request);
  const { applicationId, profileId } = await demo(request);
  // A device that is never heard, so that its queue keeps what it is given.
  const devEui = `fe${Math.floor(Math.random() * 1e14).toString(16).padStart(14, '0').slice(-14)}`;
  await api.call('POST', '/api/devices', { device: { devEui, name: `queue ${devEui}`, applicationId, deviceProfileId: profileId } });
  await api.call('POST', `/api/devices/${devEui}/activate`, {
    deviceActivation: { devEui, devAddr: '01020304', appSKey: '01'.repeat(16), nwkSEncKey: '02'.repeat(16), sNwkSIntKey: '02'.repeat(16), fNwkSIntKey: '02'.repeat(16), fCntUp: 0, nFCntDown: 0, aFCntDown: 0 },
  });
  try {
    await signIn(page, `/devices/${devEui}/queue`);
    await expect(page.getByText('The queue is empty')).toBeVisible();
    const enqueue = page.getByRole('button', { name: 'Enqueue a downlink' });
    await page.getByLabel('Payload').fill('01f');
    await enqueue.click();
    await expect(page.getByText(/Not hexadecimal/)).toBeVisible();
    await page.getByLabel('Payload').fill('01 ff');
    await page.getByLabel('Port').fill('0');
    await enqueue.click();
    await expect(page.getByText(/FPort must be/)).toBeVisible();
    await expect(page.getByLabel('Payload')).toHaveValue('01 ff');
    await page.getByLabel('Port').fill('12');
    await enqueue.click();
    const row = page.getByRole('row').filter({ hasText: '01 ff' });
    await expect(row).toContainText('12');
    await expect(row).toContainText('waiting');
    await page.getByRole('button', { name: 'Empty the queue' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Empty the queue' }).click();
    await expect(page.getByText('The queue is empty').first()).toBeVisible();
  } finally {
    await api.call('DELETE', `/api/devices/${devEui}`);
  }
});
