/* A multicast group by its pages alone: made, given members, sent to, emptied, removed. */
import { expect, test } from '@playwright/test';
import { accessible, demo, signIn, unique } from './lib';

/** What was said in passing is gone. */
const quiet = async (page: import('@playwright/test').Page) => expect(page.getByRole('alert')).toHaveCount(0, { timeout: 8000 });

const shot = async (page: import('@playwright/test').Page, name: string) => {
  if (process.env.LONGWAVE_SHOTS) await page.screenshot({ path: `${process.env.LONGWAVE_SHOTS}/multicast-${name}.png`, fullPage: true });
};

test('a multicast group from its making to its end', async ({ page, request }) => {
  test.setTimeout(180_000);
  const { applicationId } = await demo(request);
  const name = `everyone ${unique}`;
  await signIn(page, `/applications/${applicationId}`);
  await page.getByRole('link', { name: 'Multicast' }).click();
  await page.getByRole('link', { name: 'Add multicast group' }).first().click();
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Data rate (DR)').fill('14');
  for (const field of ['McAddr', 'McNwkSKey', 'McAppSKey']) await page.getByRole('button', { name: `Generate: ${field}` }).click();
  await page.getByRole('button', { name: 'Add multicast group' }).click();
  await expect(page.getByText('dr is not a data rate of downlinks in this region')).toBeVisible();
  await page.getByLabel('Data rate (DR)').fill('3');
  await page.getByRole('button', { name: 'Add multicast group' }).click();
  await expect(page.getByRole('heading', { name, level: 1 })).toBeVisible();

  await expect(page.getByText('What is enqueued goes out as FCnt 0.')).toBeVisible();
  await page.getByLabel('Payload').fill('c0 ff ee');
  await page.getByRole('button', { name: 'Enqueue a downlink' }).click();
  await expect(page.getByText('In the queue as FCnt 0')).toBeVisible();
  // Nobody is in the group: it waits.
  await expect(page.getByRole('row', { name: '0 10 c0 ff ee' })).toBeVisible();
  await shot(page, 'queue');
  await quiet(page);
  await accessible(page, 'multicast');
  await page.getByRole('button', { name: 'Empty the queue' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Empty the queue' }).click();
  await expect(page.getByText('What is enqueued goes out as FCnt 1.')).toBeVisible();

  await page.getByRole('link', { name: 'Members' }).click();
  await expect(page.getByText('None chosen: the fewest that cover')).toBeVisible();
  for (const [add, region] of [['Add a device …', 'Devices'], ['Add a gateway …', 'Gateways']] as const) {
    await page.getByRole('textbox', { name: add }).click();
    await page.getByRole('option').first().click();
    await expect(page.getByRole('table', { name: region }).getByRole('row')).toHaveCount(2); // one is its head
  }
  await shot(page, 'members');
  await quiet(page);
  await accessible(page, 'multicast');
  await page.getByRole('table', { name: 'Gateways' }).getByRole('button', { name: /^Remove/ }).click();
  await expect(page.getByText('None chosen: the fewest that cover')).toBeVisible();

  await page.getByRole('link', { name: 'Configuration' }).click();
  await page.getByRole('textbox', { name: 'How it is sent' }).click();
  await page.getByRole('option', { name: 'Class B, in ping slots' }).click();
  await expect(page.getByRole('textbox', { name: 'Ping slots' })).toBeVisible();
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByRole('alert').filter({ hasText: 'Saved' }).getByRole('button', { name: 'Close' })).toBeVisible();
  await shot(page, 'configuration');
  await quiet(page);
  await accessible(page, 'configuration of a multicast group');
  await page.getByRole('button', { name: 'Delete multicast group' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await expect(page).toHaveURL(new RegExp(`/applications/${applicationId}/multicast`));
  await expect(page.getByRole('link', { name })).toHaveCount(0);
});
