/* What was counted, on the pages of a device and a gateway that the simulator drives. */
import { expect, test } from '@playwright/test';
import { demo, signIn, url } from './lib';

test('a device: what should come, and charts with numbers for those who do not see them', async ({ page, request }) => {
  const d = await demo(request);
  await signIn(page, `/devices/${d.devEui}`);
  await page.getByRole('link', { name: 'Statistics' }).click();
  await expect(page.getByRole('heading', { name: 'What should come' })).toBeVisible();
  await expect(page.getByText(/an uplink every \d/)).toBeVisible({ timeout: 90_000 });
  await expect(page.getByText('none of the last 32').or(page.getByText(/of the last 32/))).toBeVisible();
  const received = page.getByRole('table', { name: 'Received', exact: true });
  await expect(received.getByRole('cell').first()).toHaveText(/[1-9]/);
  await expect(page.getByRole('table', { name: 'RSSI' }).getByText(/-\d+ dBm/).first()).toBeAttached();
  await page.getByText('30 days').click();
  await expect(page).toHaveURL(/span=month/);
  await expect(received.getByRole('cell').first()).toHaveText(/[1-9]/);
});

test('a gateway: counts of both directions and the duty cycle that is left', async ({ page, request }) => {
  const d = await demo(request);
  await signIn(page);
  await expect(async () => {
    await page.goto(new URL(`/gateways/${d.gatewayId}/statistics`, url()).href);
    await expect(page.getByRole('table', { name: 'Received', exact: true }).getByRole('cell').first()).toHaveText(/[1-9]/, { timeout: 3000 });
  }).toPass({ timeout: 60_000 });
  await expect(page.getByText(/Duty cycle used/).first()).toBeVisible();
});
