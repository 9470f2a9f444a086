/* A gateway's state as a dot and a word. */
import { useTranslation } from 'react-i18next';
import type { Schemas } from '../api/client';
import { toTime } from '../lib/format';
import { State } from '../ui/bits';

type Name = Schemas['api.GatewayState'];

export function GatewayState({ state }: { state: Name }) {
  const { t } = useTranslation();
  return <State tone={state === 'ONLINE' ? 'ok' : state === 'OFFLINE' ? 'bad' : 'off'}>{t(`state.${state}`)}</State>;
}

/** As the server decides it for lists: offline after twice the interval of its statistics. */
export function stateOf(lastSeenAt: string | null | undefined, statsIntervalS: number, now: number): Name {
  const seen = toTime(lastSeenAt);
  if (seen === undefined) return 'NEVER_SEEN';
  return now - seen > 2000 * (statsIntervalS || 30) ? 'OFFLINE' : 'ONLINE';
}
