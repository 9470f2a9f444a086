/* Which language is shown, and how numbers and times are written in it. */
import { expect, it } from 'vitest';
import { preferredLanguage, regional } from '../../src/i18n';

it('the language that was kept, else the first of the browser that there is', () => {
  expect(preferredLanguage('de', ['en-US'])).toBe('de');
  expect(preferredLanguage(null, ['fr-FR', 'de-AT', 'en'])).toBe('de');
  expect(preferredLanguage(null, ['fr'])).toBe('en');
});

it('numbers and times as the owner of the browser writes them', () => {
  expect(regional('en', ['en-US', 'en'])).toBe('en-US');
  expect(regional('de', ['en-US', 'de-CH'])).toBe('de-CH');
  expect(regional('en', ['de-DE', 'en'])).toBe('en-GB');
  expect(regional('de', ['en-US'])).toBe('de');
});
