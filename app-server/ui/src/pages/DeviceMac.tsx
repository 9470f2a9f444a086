/* MAC commands of a device: what waits, a form to queue one, and what network and device said to each other of late. */
import { Alert, Button, Skeleton } from '@mantine/core';
import { IconArrowDown, IconArrowUp, IconInfoCircle } from '@tabler/icons-react';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ok, type Schemas } from '../api/client';
import { queryClient, q } from '../api/queries';
import { useLocale } from '../i18n';
import { clock, dateTime } from '../lib/format';
import { frameKey, frameTime, mergeFrames, outcomeTone, readFrame, type Frame } from '../lib/frames';
import { macName, macText } from '../lib/mac';
import { outcomeWord, reasonWord } from '../lib/words';
import { useStale } from '../live/useStale';
import { useStream } from '../live/useStream';
import { CardHead, Empty } from '../ui/bits';
import { PlainTable } from '../ui/DataTable';
import { DeleteDialog, saved } from '../ui/form';
import { Failure } from '../ui/Page';
import { useDevice } from './Device';
import { MacSend } from './MacSend';

const route = getRouteApi('/shell/devices/$devEui/mac-commands');

/** Frames with MAC commands that are shown, of those that are kept. */
const SHOWN = 20;
const KEEP = 200;

export function DeviceMac() {
  const { devEui } = route.useParams();
  const { profile, may } = useDevice(devEui);
  const waiting = useQuery(q.macCommands(devEui));
  const [frames, setFrames] = useState<readonly Frame[]>([]);
  const changed = useStale('device', 'mac', devEui);
  useStream(`/api/live/devices/${devEui}/frames`, (more) => {
    setFrames((old) => mergeFrames(old, more.map((e) => readFrame(e.data, e.id)).filter((f) => f !== undefined), KEEP));
    changed();
  });
  if (waiting.error) return <Failure error={waiting.error} retry={() => void waiting.refetch()} />;
  return (
    <div className="mac">
      <Waiting devEui={devEui} list={waiting.data} may={may} />
      {may === undefined || !profile || !waiting.data ? <Skeleton h={280} /> : may && waiting.data.isActivated ? <MacSend devEui={devEui} profile={profile} room={{ free: waiting.data.maxBytes - waiting.data.bytes, max: waiting.data.maxBytes }} /> : <Refused devEui={devEui} may={may} />}
      <Recent devEui={devEui} frames={frames} />
    </div>
  );
}

/** Why nothing can be sent, in place of the form. */
function Refused({ devEui, may }: { devEui: string; may: boolean }) {
  const { t } = useTranslation();
  return (
    <Alert variant="outline" color="yellow" icon={<IconInfoCircle size={18} />} bg="var(--lw-surface)" title={t(may ? 'mac.notActivatedTitle' : 'mac.noRightTitle')} styles={{ title: { color: 'var(--lw-text)' } }}>
      {may ? (
        <>
          {t('mac.notActivated')} <Link to="/devices/$devEui/activation" params={{ devEui }}>{t('tabs.activation')}</Link>
        </>
      ) : (
        t('mac.noRight')
      )}
    </Alert>
  );
}

function Waiting({ devEui, list, may }: { devEui: string; list: Schemas['longwave.app.v1.ListMacCommandsResponse'] | undefined; may: boolean | undefined }) {
  const { t } = useTranslation();
  const [doomed, setDoomed] = useState(false);
  return (
    <section className="card" style={{ minWidth: 0 }}>
      <CardHead title={t('mac.waiting')}>
        {list && list.commands.length > 0 && (
          <>
            <span className="dim tabular" style={{ fontSize: 12.5 }}>{t('mac.room', { bytes: list.bytes, max: list.maxBytes })}</span>
            {may && (
              <Button size="compact-xs" variant="default" onClick={() => setDoomed(true)}>
                {t('mac.discard')}
              </Button>
            )}
          </>
        )}
      </CardHead>
      {!list ? (
        <div className="card-pad"><Skeleton h={80} /></div>
      ) : list.commands.length === 0 ? (
        <Empty title={t('mac.none')} text={t('mac.noneText')} />
      ) : (
        <PlainTable
          label={t('mac.waiting')}
          rows={list.commands.map((command, i) => ({ ...command, i }))}
          rowKey={(r) => r.i}
          columns={[
            { id: 'name', label: t('mac.command'), render: (r) => macName(r) },
            { id: 'values', label: t('mac.values'), grow: true, render: (r) => <span className="mono" style={{ whiteSpace: 'normal', overflowWrap: 'anywhere' }}>{macText(r) || '–'}</span> },
          ]}
        />
      )}
      <DeleteDialog
        opened={doomed}
        close={() => setDoomed(false)}
        name={devEui}
        title={t('mac.discard')}
        text={t('mac.discardText')}
        verb={t('mac.discard')}
        action={() => ok(api.DELETE('/api/longwave/devices/{devEui}/mac-commands', { params: { path: { devEui } } }))}
        done={async () => {
          saved(t('mac.discarded'));
          await queryClient.invalidateQueries({ queryKey: ['device', 'mac', devEui] });
        }}
      />
    </section>
  );
}

function Recent({ devEui, frames }: { devEui: string; frames: readonly Frame[] }) {
  const { t } = useTranslation();
  const locale = useLocale();
  const shown = useMemo(() => frames.filter((f) => f.macCommands.length > 0).slice(0, SHOWN), [frames]);
  return (
    <section className="card" style={{ minWidth: 0 }} aria-label={t('mac.recent')}>
      <CardHead title={t('mac.recent')}>
        <Link to="/devices/$devEui/live" params={{ devEui }} style={{ fontSize: 12.5 }}>{t('mac.frames')}</Link>
      </CardHead>
      {shown.length === 0 ? (
        <Empty title={t('mac.recentNone')} text={t('mac.recentText')} />
      ) : (
        <ul className="lines mac-frames">
          {shown.map((f) => {
            const time = frameTime(f);
            return (
              <li key={frameKey(f)}>
                <span className="tabular dim" title={time === undefined ? undefined : dateTime(time, locale)}>{time === undefined ? '' : clock(time, locale).slice(0, 8)}</span>
                {f.uplink ? <IconArrowUp size={15} role="img" aria-label={t('live.up')} /> : <IconArrowDown size={15} role="img" aria-label={t('live.down')} color="var(--lw-accent)" />}
                <div>
                  {f.macCommands.map((m, i) => (
                    <div key={i}>
                      <span style={{ fontWeight: 550 }}>{macName(m)}</span> <span className="mono dim">{macText(m)}</span>
                    </div>
                  ))}
                  {f.outcome !== 'DELIVERED' && (
                    <div className={`tone-${outcomeTone(f.outcome)}`} style={{ fontSize: 12.5 }}>
                      {[outcomeWord(f.outcome, t), reasonWord(f.reason, t)].filter(Boolean).join(': ')}
                    </div>
                  )}
                </div>
              </li>
            );
          })}
        </ul>
      )}
    </section>
  );
}
