/* A payload in the clear: hex, text where it is text, and what the codec made of it. */
import { useTranslation } from 'react-i18next';
import { base64ToBytes, bytesToHex, groupByTwo, printable } from '../lib/format';

export function Payload({ data, object }: { data: string | undefined; object: unknown }) {
  const { t } = useTranslation();
  const bytes = base64ToBytes(data);
  const text = printable(bytes);
  return (
    <div style={{ display: 'grid', gap: 8 }}>
      {bytes.length === 0 ? (
        <span className="dim">{t('live.noData')}</span>
      ) : (
        <div className="pre">
          {groupByTwo(bytesToHex(bytes))}
          {text !== undefined && <div className="dim">{text}</div>}
        </div>
      )}
      {object !== null && object !== undefined && <pre className="pre">{JSON.stringify(object, null, 2)}</pre>}
    </div>
  );
}
