/* Words for constants: those of the language, else the constant. */
import { createInstance } from 'i18next';
import { expect, it } from 'vitest';
import en from '../../src/locales/en.json';
import { outcomeWord, reasonWord } from '../../src/lib/words';

it('a constant that is known has a word; another stands as it is; no reason is nothing', async () => {
  const t = await createInstance().init({ lng: 'en', resources: { en: { translation: en } } });
  expect(outcomeWord('DROPPED', t)).toBe('Dropped');
  expect(outcomeWord('SOMETHING_NEW', t)).toBe('SOMETHING_NEW');
  expect(reasonWord('SOMETHING_NEW', t)).toBe('SOMETHING_NEW');
  expect(reasonWord('MIC_MISMATCH', t)).not.toMatch(/MIC_MISMATCH|^$/);
  expect([reasonWord('REASON_NONE', t), reasonWord('', t)]).toEqual(['', '']);
});
