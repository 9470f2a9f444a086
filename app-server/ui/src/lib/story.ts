/* The steps of a frame that tell its story; the others are the flow's plumbing, shown when asked for. Pure. */
import type { Frame, FrameStep } from './frames';
import { macName } from './mac';

export interface StoryStep extends FrameStep {
  /** Key of a text that says more, with its values. */
  more?: { key: 'copies' | 'session' | 'commands' | 'window'; values: Record<string, string | number> };
}

const TELLING = new Set(['admit', 'collect', 'match', 'authorize', 'mac_commands', 'compose', 'decide', 'send', 'ask_join_server', 'accept', 'read', 'draw_address']);

/** Whether a frame got beyond a step: the flow reached a later one. */
function passed(f: Frame, i: number): boolean {
  return i < f.steps.length - 1 || f.outcome === 'DELIVERED' || f.outcome === 'PENDING';
}

export function story(f: Frame): StoryStep[] {
  const out: StoryStep[] = [];
  f.steps.forEach((s, i) => {
    const last = i === f.steps.length - 1;
    if (s.name === 'mac_commands' && f.macCommands.length === 0 && !s.text && !last) return;
    if (!s.text && !TELLING.has(s.name) && !(last && f.outcome === 'DROPPED')) return;
    const more = passed(f, i) ? detail(f, s.name) : undefined;
    // Waiting at a step shows as the time of the next one.
    const afterUs = s.name === 'collect' ? (f.steps[i + 1]?.afterUs ?? s.afterUs) : s.afterUs;
    out.push(more ? { ...s, afterUs, more } : { ...s, afterUs });
  });
  return out;
}

function detail(f: Frame, step: string): StoryStep['more'] {
  const commands = f.macCommands.map(macName).join(', ');
  switch (step) {
    case 'collect':
      return f.rxInfo.length > 0 ? { key: 'copies', values: { count: f.rxInfo.length } } : undefined;
    case 'match':
      return f.devAddr ? { key: 'session', values: { devAddr: f.devAddr, fCnt: f.fCnt } } : undefined;
    case 'mac_commands':
      return commands ? { key: 'commands', values: { commands } } : undefined;
    case 'decide':
      return f.gatewayId ? { key: 'window', values: { count: f.downlinkTxInfo.length, gateway: f.gatewayId } } : undefined;
    default:
      return undefined;
  }
}
