/* An integration event: one line, and opened the payload and the whole JSON. */
import { Alert } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import type { TFunction } from 'i18next';
import { useTranslation } from 'react-i18next';
import { isNonceRefused, type LiveEvent } from '../lib/events';
import { base64ToBytes, bytesToHex, groupByTwo } from '../lib/format';
import { Payload } from './Payload';

export function eventSummary(e: LiveEvent, t: TFunction): string {
  const b = e.body;
  switch (e.kind) {
    case 'up':
      return b.object ? JSON.stringify(b.object) : groupByTwo(bytesToHex(base64ToBytes(b.data)));
    case 'join':
      return `DevAddr ${b.devAddr ?? ''}`;
    case 'ack':
      return t(b.acknowledged ? 'events.acknowledged' : 'events.notAcknowledged');
    case 'txack':
      return t('events.sentBy', { gateway: b.gatewayId ?? '' });
    case 'log':
      return [b.level, b.code, b.description, groupByTwo(b.context?.mac_commands ?? '')].filter(Boolean).join(' · ');
    case 'status':
      return t('events.statusLine', { margin: b.margin ?? 0, battery: b.externalPowerSource ? t('devices.external') : `${Math.round(b.batteryLevel ?? 0)} %` });
    case 'location':
      return b.location ? `${b.location.latitude.toFixed(5)}, ${b.location.longitude.toFixed(5)} ± ${Math.round(b.location.accuracy ?? 0)} m` : '';
    default:
      return '';
  }
}

export function EventDetail({ event }: { event: LiveEvent }) {
  const { t } = useTranslation();
  return (
    <>
      {event.kind === 'up' && (
        <div>
          <h3>{t('live.payload')}</h3>
          <Payload data={event.body.data} object={event.body.object} />
        </div>
      )}
      {isNonceRefused(event) && (
        <Alert variant="outline" color="gray" bg="var(--lw-surface)" style={{ gridColumn: '1 / -1' }}>
          <strong>{t('events.nonceTitle')}.</strong>{' '}
          {t('events.nonceText', { nonce: event.body.context?.dev_nonce ?? '' })}{' '}
          <Link className="link" style={{ textDecoration: 'underline' }} to="/devices/$devEui/keys" params={{ devEui: event.body.deviceInfo?.devEui ?? '' }}>{t('events.nonceLink')}</Link>
        </Alert>
      )}
      <div style={event.kind === 'up' ? undefined : { gridColumn: '1 / -1' }}>
        <h3>JSON</h3>
        <pre className="pre" tabIndex={0}>{JSON.stringify(event.body, null, 2)}</pre>
      </div>
    </>
  );
}
