/* A device that floods, as an operator meets it: on its page, in its frames, and let out again. */
import { expect, test } from '@playwright/test';
import { Device, place } from './device';
import { Api, look, signIn, unique, url } from './lib';

test.use({ colorScheme: 'light', contextOptions: { reducedMotion: 'reduce' } });

test('a device in quarantine says why, what that means, and is let out', async ({ page, request, browser }) => {
  // Where the flood has to last for minutes (quarantine.after), as on a stack that is not our own, it takes as long.
  test.setTimeout(600_000);
  const api = await Api.open(request);
  const at = await place(api, 'flood');
  const d = await Device.open(api, at, `flood ${unique}`);
  await d.activate(api);
  await signIn(page, `/devices/${d.devEui}`);
  await expect(page.getByRole('heading', { level: 1, name: d.name })).toBeVisible();

  const link = () => api.call<{ quarantine: { cause: string } | null }>('GET', `/api/longwave/devices/${d.devEui}/link?start=${new Date(Date.now() - 3_600_000).toISOString()}&end=${new Date().toISOString()}&aggregation=HOUR`);
  await expect(async () => {
    for (let i = 0; i < 12; i++) d.send({ bytes: 51, datr: 'SF12BW125' }); // 2.5 s each
    expect((await link()).quarantine).not.toBeNull();
  }).toPass({ timeout: 300_000, intervals: [500] });
  d.send();
  await page.reload();
  const alert = page.getByRole('alert').filter({ hasText: 'In quarantine' });
  await expect(alert).toBeVisible();
  await expect(alert).toContainText('Mend the device first');
  await expect(page.locator('.page-meta').getByText('in quarantine')).toBeVisible();
  await look(page, 'quarantine-overview');
  await expect(alert).toContainText('25 % are allowed');
  await expect(alert).toContainText(/[1-9]\d* frames? dropped so far/);
  await page.goto(new URL(`/devices/${d.devEui}/live`, url()).href);
  await expect(page.getByRole('feed').getByText('Dropped').first()).toBeVisible();
  await page.getByRole('feed').getByRole('button').first().click();
  await look(page, 'quarantine-live');
  await page.goto(new URL(`/t/${at.tenantId}/devices`, url()).href);
  await expect(page.getByRole('cell', { name: d.name, exact: true })).toBeVisible();
  await look(page, 'quarantine-list');
  await page.goto(new URL(`/t/${at.tenantId}`, url()).href);
  await look(page, 'quarantine-tenant');
  await page.goto(new URL(`/devices/${d.devEui}/statistics`, url()).href);
  await expect(alert).toBeVisible();
  await look(page, 'quarantine-statistics');

  const email = `flood-reader-${unique}@example.com`;
  const { id: userId } = await api.call<{ id: string }>('POST', '/api/users', { user: { email, isActive: true }, password: 'reader-secret', tenants: [{ tenantId: at.tenantId }] });
  const reader = await (await browser.newContext()).newPage();
  await signIn(reader, `/devices/${d.devEui}`, email, 'reader-secret');
  await expect(reader.getByRole('alert').filter({ hasText: 'In quarantine' })).toContainText('Who may change devices of this application can release it');
  await expect(reader.getByRole('button', { name: 'Release' })).toHaveCount(0);
  await reader.context().close();
  await api.call('DELETE', `/api/users/${userId}`);

  await alert.getByRole('button', { name: 'Release' }).click();
  await expect(alert).toHaveCount(0);
  await expect(page.locator('.page-meta').getByText('active')).toBeVisible();
  d.close();
  await api.call('DELETE', `/api/tenants/${at.tenantId}`);
});
