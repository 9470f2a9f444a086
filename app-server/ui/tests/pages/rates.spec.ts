/* Supported data rates of a device profile: chosen by name, kept, those of another region forgotten, a refusal at the field. */
import { expect, test } from '@playwright/test';
import { Api, look, signIn, unique, url } from './lib';

test.use({ colorScheme: 'light', contextOptions: { reducedMotion: 'reduce' } });

test('supported data rates are chosen by name and refused at their field', async ({ page, request }) => {
  test.setTimeout(480_000); // axe is slow where the machine is
  const api = await Api.open(request);
  const { id: tenantId } = await api.call<{ id: string }>('POST', '/api/tenants', { tenant: { name: `rates ${unique}` } });
  const deviceProfile = { name: 'slow devices', tenantId, region: 'EU868', macVersion: 'LORAWAN_1_0_3', regParamsRevision: 'A', supportsOtaa: true, adrAlgorithmId: 'default', supportedUplinkDataRates: [0, 1, 9] };
  const { id } = await api.call<{ id: string }>('POST', '/api/device-profiles', { deviceProfile });
  const kept = async () => (await api.call<{ deviceProfile: { supportedUplinkDataRates: number[] } }>('GET', `/api/device-profiles/${id}`)).deviceProfile.supportedUplinkDataRates;
  await signIn(page, `/device-profiles/${id}`);
  const rates = page.getByRole('textbox', { name: 'Supported uplink data rates' });
  const save = page.getByRole('button', { name: 'Save', exact: true });
  const pill = (name: string) => page.locator('.mantine-Pill-root').filter({ hasText: name });
  await expect(pill('DR0 · SF12 125 kHz')).toBeVisible();
  await expect(pill('DR9 (not in these versions)')).toBeVisible(); // LR-FHSS came with 1.0.4
  await page.locator('.mantine-MultiSelect-input').click();
  await expect(page.getByRole('option', { name: 'DR7 · FSK 50 kbit/s' })).toBeVisible();
  await page.getByRole('option', { name: 'DR2 · SF10 125 kHz' }).click();
  await page.getByRole('option', { name: 'DR9' }).click(); // out again
  await page.keyboard.press('Escape');
  await look(page, 'rates');
  await save.click();
  await expect.poll(kept).toEqual([0, 1, 2]);

  // What this page does not offer is put in on the way: the words are the API's.
  await page.route(`**/api/device-profiles/${id}`, async (route) => {
    if (route.request().method() !== 'PUT') return route.fallback();
    const body = route.request().postDataJSON() as { deviceProfile: { supportedUplinkDataRates: number[] } };
    body.deviceProfile.supportedUplinkDataRates.push(16);
    await route.continue({ postData: JSON.stringify(body) });
  });
  await save.click();
  await expect(page.getByText('supported_uplink_data_rates: 16 is no data rate of uplinks in EU868')).toBeVisible();
  await expect(rates).toBeFocused();
  await expect(rates).toHaveAttribute('aria-invalid', 'true');
  await page.keyboard.press('Escape');
  await look(page, 'rates-refused');
  await page.unroute(`**/api/device-profiles/${id}`);

  await page.getByRole('textbox', { name: 'Region', exact: true }).click();
  await page.getByRole('option', { name: 'US915' }).click();
  await expect(pill('DR')).toHaveCount(0); // the numbers mean others there
  await page.locator('.mantine-MultiSelect-input').click();
  await page.getByRole('option', { name: 'DR4 · SF8 500 kHz' }).click();
  await page.keyboard.press('Escape');
  await save.click();
  await expect.poll(kept).toEqual([4]);
  await page.goto(new URL(`/device-profiles/${id}`, url()).href);
  await expect(pill('DR4 · SF8 500 kHz')).toBeVisible();
  await api.call('DELETE', `/api/tenants/${tenantId}`);
});
