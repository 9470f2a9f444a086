/* A frame's whole story: its way as a timeline, MAC commands, receptions, the bytes. */
import { Link } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { useTranslation } from 'react-i18next';
import type { LiveEvent } from '../lib/events';
import { base64ToBytes, bytesToHex, duration, megahertz } from '../lib/format';
import { bestReception, modulationName, outcomeTone, type Considered, type DownlinkTxInfo, type Frame } from '../lib/frames';
import { macName, macText } from '../lib/mac';
import { parsePhy } from '../lib/phy';
import { story, type StoryStep } from '../lib/story';
import { outcomeWord, reasonWord } from '../lib/words';
import { Eui } from '../ui/bits';
import { Payload } from './Payload';

export function FrameDetail({ frame: f, event }: { frame: Frame; event: LiveEvent | undefined }) {
  const { t } = useTranslation();
  return (
    <>
      <div style={{ display: 'grid', gap: 18, alignContent: 'start' }}>
        <Timeline frame={f} event={event} />
        <Remedy frame={f} />
        {event && (
          <div>
            <h3>{t('live.payload')}</h3>
            <Payload data={event.body.data} object={event.body.object} />
          </div>
        )}
      </div>
      <div style={{ display: 'grid', gap: 18, alignContent: 'start', minWidth: 0 }}>
        {f.macCommands.length > 0 && <MacCommands frame={f} />}
        {f.rxInfo.length > 0 && <Receptions frame={f} />}
        {f.downlinkTxInfo.length > 0 && <Windows frame={f} />}
        {f.considered.length > 0 && <Gateways frame={f} />}
        <Bytes frame={f} />
        <div className="dim" style={{ fontSize: 12.5, display: 'flex', flexWrap: 'wrap', gap: '2px 16px' }}>
          {f.devEui && <span>DevEUI <Eui value={f.devEui} label="DevEUI" /></span>}
          {f.devAddr && <span>DevAddr <Eui value={f.devAddr} label="DevAddr" /></span>}
          {f.regionConfigId && <span>{f.regionConfigId}</span>}
        </div>
      </div>
    </>
  );
}

/** Where a click helps against what happened to the frame. */
function Remedy({ frame: f }: { frame: Frame }) {
  const { t } = useTranslation();
  if (!f.devEui || f.outcome !== 'DROPPED') return null;
  const params = { devEui: f.devEui };
  if (f.reason === 'DEVNONCE_REUSED' && f.fType === 'JOIN_REQUEST')
    return <p style={{ margin: 0 }}>{t('live.nonceRemedy')} <Link to="/devices/$devEui/keys" params={params}>{t('keys.flush')}</Link></p>;
  if (f.reason === 'QUARANTINED') return <p style={{ margin: 0 }}><Link to="/devices/$devEui" params={params}>{t('live.quarantineRemedy')}</Link></p>;
  return null;
}

function Timeline({ frame: f, event }: { frame: Frame; event: LiveEvent | undefined }) {
  const { t } = useTranslation();
  const why = [reasonWord(f.reason, t), f.detail].filter(Boolean).join(': ');
  const [all, setAll] = useState(false);
  const told = useMemo(() => story(f), [f]);
  const steps: StoryStep[] = all ? f.steps : told;
  return (
    <div>
      <h3 style={{ display: 'flex' }}>
        {t('live.way')}
        <span className="spacer" />
        {f.steps.length > told.length && (
          <button type="button" className="eui" style={{ fontFamily: 'inherit', fontSize: 12 }} aria-pressed={all} onClick={() => setAll(!all)}>
            {all ? t('live.fewSteps') : t('live.allSteps', { count: f.steps.length })}
          </button>
        )}
      </h3>
      <ol className="timeline">
        {f.uplink && f.rxInfo.length > 0 && (
          <li>
            <span style={{ fontWeight: 500 }}>{t('step.receive')}</span>
            <div className="what">{t('live.receivedBy', { count: f.rxInfo.length, gateway: bestReception(f.rxInfo)?.gatewayId })}</div>
          </li>
        )}
        {steps.map((s, i) => (
          <li key={i}>
            <span className="after">{duration(s.afterUs)}</span>
            <span style={{ fontWeight: 500 }}>{t(`step.${s.name as 'collect'}`, { defaultValue: s.name.replace(/_/g, ' ') })}</span>
            {(s.text || s.more) && <div className="what">{[s.more && t(`live.more.${s.more.key}`, s.more.values as { count: number }), s.text].filter(Boolean).join(' · ')}</div>}
          </li>
        ))}
        {event && (
          <li>
            <span style={{ fontWeight: 500 }}>{t('live.toApplication')}</span>
            <div className="what">{t('live.asEvent', { event: event.kind })}</div>
          </li>
        )}
        <li className={outcomeTone(f.outcome)}>
          <span className={`tone-${outcomeTone(f.outcome)}`} style={{ fontWeight: 600 }}>{outcomeWord(f.outcome, t)}</span>
          {why && <div className="what">{why}</div>}
        </li>
      </ol>
    </div>
  );
}

function MacCommands({ frame: f }: { frame: Frame }) {
  const { t } = useTranslation();
  return (
    <div>
      <h3>{t('live.macCommands')}</h3>
      <table className="table">
        <caption className="visually-hidden">{t('live.macCommands')}</caption>
        <tbody>
          {f.macCommands.map((m, i) => (
            <tr key={i}>
              <th scope="row" style={{ fontWeight: 600, color: 'var(--lw-text)' }}>{macName(m)}</th>
              <td style={{ whiteSpace: 'normal', width: '100%' }} className="mono">{macText(m)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Receptions({ frame: f }: { frame: Frame }) {
  const { t } = useTranslation();
  const rows = [...f.rxInfo].sort((a, b) => b.snr - a.snr || b.rssi - a.rssi);
  return (
    <div>
      <h3>
        {t('live.receptions')}
        {f.txInfo && ` · ${megahertz(f.txInfo.frequency)} · ${modulationName(f.txInfo.modulation)}`}
      </h3>
      <div className="table-wrap" tabIndex={0} role="region" aria-label={t('live.receptions')}>
        <table className="table">
          <thead>
            <tr>
              <th scope="col">{t('live.gateway')}</th>
              <th scope="col" className="num">RSSI</th>
              <th scope="col" className="num">SNR</th>
              <th scope="col" className="num">{t('live.channel')}</th>
              <th scope="col">{t('live.fine')}</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((r, i) => (
              <tr key={i}>
                <td><Eui value={r.gatewayId} label={t('gateways.id')} /></td>
                <td className="num">{r.rssi} dBm</td>
                <td className="num">{r.snr.toFixed(1)} dB</td>
                <td className="num">{r.channel ?? ''}</td>
                <td>{r.fineTimeSinceGpsEpoch ? t('common.yes') : '–'}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

function timing(x: DownlinkTxInfo, now: string): string {
  if (x.timing?.delay) return x.timing.delay.delay;
  if (x.timing?.gpsEpoch) return `GPS ${x.timing.gpsEpoch.timeSinceGpsEpoch}`;
  return x.timing?.immediately ? now : '';
}

function Windows({ frame: f }: { frame: Frame }) {
  const { t } = useTranslation();
  return (
    <div>
      <h3>{t('live.windows')}</h3>
      <div className="table-wrap" tabIndex={0} role="region" aria-label={t('live.windows')}>
        <table className="table">
          <thead>
            <tr>
              <th scope="col">#</th>
              <th scope="col">{t('live.when')}</th>
              <th scope="col">{t('live.frequency')}</th>
              <th scope="col">{t('live.dr')}</th>
              <th scope="col" className="num">{t('live.power')}</th>
              <th scope="col">{t('live.answer')}</th>
            </tr>
          </thead>
          <tbody>
            {f.downlinkTxInfo.map((x, i) => (
              <tr key={i}>
                <td>{i + 1}</td>
                <td>{timing(x, t('live.atOnce'))}</td>
                <td>{megahertz(x.frequency)}</td>
                <td>{modulationName(x.modulation)}</td>
                <td className="num">{x.power} dBm</td>
                <td>{f.taken === i ? <span className="tone-ok">{t('live.taken')}</span> : f.taken > i ? <span className="tone-bad">{t('live.refused')}</span> : f.taken >= 0 ? <span className="dim">{t('live.notNeeded')}</span> : <span className="dim">–</span>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

function Verdict({ verdict: v }: { verdict: Considered['verdicts'][number] | undefined }) {
  const { t } = useTranslation();
  if (!v) return null;
  if (v.answer === 'taken') return <span className="tone-ok">{t('live.taken')}</span>;
  if (v.answer === 'not needed') return <span className="dim">{t('live.notNeeded')}</span>;
  if (v.answer) return <span className="tone-bad">{v.answer}</span>;
  if (v.offered) return <span>{t('live.asked')}{v.text && v.text !== 'free' && <span className="dim"> ({v.text})</span>}</span>;
  return <span className={v.text.startsWith('free') ? 'dim' : 'tone-warn'}>{v.text}</span>;
}

/** Which gateways could have sent it, and why each did or did not. */
function Gateways({ frame: f }: { frame: Frame }) {
  const { t } = useTranslation();
  const windows = f.considered[0]?.verdicts.map((v) => v.window) ?? [];
  return (
    <div>
      <h3>{t('live.considered')}</h3>
      <div className="table-wrap" tabIndex={0} role="region" aria-label={t('live.considered')}>
        <table className="table">
          <thead>
            <tr>
              <th scope="col">{t('live.gateway')}</th>
              <th scope="col" className="num">{t('live.margin')}</th>
              <th scope="col" className="num">{t('live.order')}</th>
              {windows.map((w) => <th scope="col" key={w}>{w}</th>)}
            </tr>
          </thead>
          <tbody>
            {f.considered.map((c) => (
              <tr key={c.gatewayId} style={c.chosen ? { fontWeight: 600 } : undefined}>
                <td><Eui value={c.gatewayId} label={t('gateways.id')} /></td>
                <td className="num">{(c.marginDdb / 10).toFixed(1)} dB</td>
                <td className="num">{c.offer > 0 ? `${c.offer}.` : '–'}</td>
                {windows.map((w, i) => <td key={w} style={{ whiteSpace: 'normal' }}><Verdict verdict={c.verdicts[i]} /></td>)}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

/** The bytes in hex; the field under the pointer (or focus) lights up in both views. */
function Bytes({ frame: f }: { frame: Frame }) {
  const { t } = useTranslation();
  const [on, setOn] = useState<string>();
  const bytes = base64ToBytes(f.phyPayload);
  if (bytes.length === 0) return null;
  const phy = parsePhy(bytes);
  const name = (n: string) => (n === 'FRMPayload' || n === 'Encrypted' ? `${n} (${t('live.encrypted')})` : n);
  const light = (n: string) => ({ onPointerEnter: () => setOn(n), onPointerLeave: () => setOn(undefined) });
  return (
    <div>
      <h3>PHYPayload · {t('live.bytes', { count: bytes.length })}</h3>
      <div className="hex" data-testid="hex">
        {phy.fields.map((field) => (
          <span key={field.name} className={`hex-field ${on === field.name ? 'on' : ''}`} {...light(field.name)} title={field.name}>
            {bytesToHex(bytes.subarray(field.start, field.end)).replace(/(..)(?=.)/g, '$1 ')}
          </span>
        )).flatMap((e, i) => (i > 0 ? [' ', e] : [e]))}
      </div>
      <dl className="hex-names">
        {phy.fields.map((field) => (
          <div key={field.name} style={{ display: 'contents' }} {...light(field.name)}>
            <dt className={on === field.name ? 'on' : ''}>{name(field.name)}</dt>
            <dd className={on === field.name ? 'on' : ''}>{field.value}</dd>
          </div>
        ))}
      </dl>
      {phy.problem && <p className="tone-bad" style={{ margin: '6px 0 0' }}>{t(`live.problem.${phy.problem as 'short'}`)}</p>}
    </div>
  );
}
