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

test('a device in quarantine says why and until when, and is released', async ({ page, request }) => {
  const d = await demo(request);
  let held = true;
  let released = 0;
  // The simulator does not flood: the server's answer is completed here, and the release is not sent.
  await page.route('**/api/longwave/devices/*/link?*', async (route) => {
    const answer = await route.fetch();
    const quarantine = { cause: 'UPLINKS', measured: 81, limit: 25, since: '2026-01-01T00:00:00Z', until: new Date(Date.now() + 600_000).toISOString(), dropped: '17' };
    await route.fulfill({ response: answer, json: { ...((await answer.json()) as object), ...(held ? { quarantine } : {}) } });
  });
  await page.route('**/api/longwave/devices/*/quarantine', async (route) => {
    expect(route.request().method()).toBe('DELETE');
    held = false;
    released++;
    await route.fulfill({ json: {} });
  });
  await signIn(page, `/devices/${d.devEui}`);
  const alert = page.getByRole('alert').filter({ hasText: 'In quarantine' });
  await expect(alert).toContainText('Its uplinks filled 81 % of the time; 25 % are allowed.');
  await expect(alert).toContainText('17 frames dropped so far.');
  await page.screenshot({ path: test.info().outputPath('quarantine.png') });
  await alert.getByRole('button', { name: 'Release' }).click();
  await expect(alert).toHaveCount(0);
  expect(released).toBe(1);
});
