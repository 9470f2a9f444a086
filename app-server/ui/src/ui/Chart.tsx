/* One small chart: bars that stack (counts), or a line (signal, percent). SVG by hand; the numbers are also a table for
 * those who do not see it. */
import { useElementSize } from '@mantine/hooks';
import type { RefObject } from 'react';
import { useTranslation } from 'react-i18next';
import { useLocale } from '../i18n';
import { axisLabel, niceTop } from '../lib/series';

export interface ChartSet {
  label: string;
  data: readonly (number | undefined)[];
}

const H = 150;
const LEFT = 44;
const BOTTOM = 20;
const TOP = 8;

const number = (v: number, digits: number) => v.toFixed(digits);

export function Chart({ title, value, sets, ticks, kind, unit = '', digits = 0, limit, tone }: { title: string; value?: string; sets: readonly ChartSet[]; ticks: readonly string[]; kind: 'bars' | 'line'; unit?: string; digits?: number; limit?: number; tone?: 'bad' }) {
  const { t } = useTranslation();
  const locale = useLocale();
  // As wide as there is room: what is written keeps its size.
  const { ref, width: room } = useElementSize<HTMLDivElement>();
  const W = Math.max(240, room || 560);
  const n = ticks.length;
  const all = sets.flatMap((s) => s.data).filter((v): v is number => v !== undefined);
  const columns = ticks.map((_, i) => sets.reduce((a, s) => a + (s.data[i] ?? 0), 0));
  const isEmpty = kind === 'bars' ? columns.every((v) => v === 0) : all.length === 0;
  const high = kind === 'bars' ? niceTop(Math.max(0, ...columns)) : Math.max(limit ?? -Infinity, ...all);
  const [low, top] = kind === 'bars' ? [0, high] : limit !== undefined ? [0, niceTop(high)] : [Math.floor(Math.min(...all) / 5) * 5 - 5, Math.ceil(high / 5) * 5 + 5];
  const width = (W - LEFT) / Math.max(1, n);
  const x = (i: number) => LEFT + (i + 0.5) * width;
  const y = (v: number) => TOP + (H - TOP - BOTTOM) * (1 - (v - low) / (top - low || 1));
  const axis = [low, (low + top) / 2, top];
  const every = Math.max(1, Math.ceil(n / Math.max(2, Math.floor(W / 80))));
  const color = (k: number) => (tone === 'bad' && sets.length === 1 ? 'var(--lw-bad-dot)' : `var(--lw-series-${(k % 8) + 1})`);
  return (
    <section className="card chart">
      <h2>
        <span>
          {title}
          {unit && <span className="chart-unit"> {unit}</span>}
        </span>
        {value && <span className="chart-value tabular">{value}</span>}
      </h2>
      {isEmpty ? (
        <p className="card-pad dim" style={{ margin: 0 }}>{t('link.nothing')}</p>
      ) : (
        <div className="card-pad">
          <div ref={ref as RefObject<HTMLDivElement>}>
            <svg viewBox={`0 0 ${W} ${H}`} aria-hidden focusable="false">
              {axis.map((v) => (
                <g key={v}>
                  <line x1={LEFT} x2={W} y1={y(v)} y2={y(v)} className="chart-grid" />
                  <text x={LEFT - 6} y={y(v) + 4} textAnchor="end">{axisLabel(v, locale)}</text>
                </g>
              ))}
              {ticks.map((text, i) => (i % every === 0 ? <text key={i} x={x(i)} y={H - 4} textAnchor="middle">{text}</text> : null))}
              {kind === 'bars' && ticks.map((text, i) => {
                let base = 0;
                return (
                  <g key={i}>
                    {sets.map((s, k) => {
                      const v = s.data[i] ?? 0;
                      if (v <= 0) return null;
                      base += v;
                      return <rect key={k} x={LEFT + i * width + width * 0.12} width={width * 0.76} y={y(base)} height={Math.max(1, y(base - v) - y(base))} fill={color(k)} />;
                    })}
                    <rect x={LEFT + i * width} width={width} y={TOP} height={H - TOP - BOTTOM} fill="transparent">
                      <title>{[text, ...sets.filter((s) => s.data[i]).map((s) => `${s.label}: ${number(s.data[i] ?? 0, digits)} ${unit}`)].join('\n')}</title>
                    </rect>
                  </g>
                );
              })}
              {kind === 'line' && sets.map((s, k) => <Line key={k} data={s.data} x={x} y={y} color={color(k)} title={(i) => `${ticks[i]}\n${s.label}: ${number(s.data[i] ?? 0, digits)} ${unit}`} />)}
              {limit !== undefined && <line x1={LEFT} x2={W} y1={y(limit)} y2={y(limit)} className="chart-limit" />}
            </svg>
          </div>
          {(sets.length > 1 || sets.some((s) => s.label !== title)) && (
            <ul className="legend">
              {sets.map((s, k) => <li key={s.label}><span className="swatch" style={{ background: color(k) }} aria-hidden />{s.label}</li>)}
            </ul>
          )}
          {/* A table is as wide as what it holds, whatever its style says: the box around it is hidden. */}
          <div className="visually-hidden"><table>
            <caption>{title}</caption>
            <thead><tr><th scope="col">{t('live.time')}</th>{sets.map((s) => <th scope="col" key={s.label}>{s.label}</th>)}</tr></thead>
            <tbody>
              {ticks.map((text, i) => (columns[i] === 0 && kind === 'bars' ? null : <tr key={i}><th scope="row">{text}</th>{sets.map((s) => <td key={s.label}>{s.data[i] === undefined ? '–' : `${number(s.data[i] ?? 0, digits)} ${unit}`}</td>)}</tr>))}
            </tbody>
          </table></div>
        </div>
      )}
    </section>
  );
}

/** Points that follow each other are joined; one that stands alone is a dot. */
function Line({ data, x, y, color, title }: { data: ChartSet['data']; x: (i: number) => number; y: (v: number) => number; color: string; title: (i: number) => string }) {
  let path = '';
  data.forEach((v, i) => {
    if (v !== undefined) path += `${i === 0 || data[i - 1] === undefined ? 'M' : 'L'}${x(i).toFixed(1)},${y(v).toFixed(1)}`;
  });
  return (
    <g>
      <path d={path} fill="none" stroke={color} strokeWidth={2} strokeLinejoin="round" />
      {data.map((v, i) => (v === undefined ? null : (
        <circle key={i} cx={x(i)} cy={y(v)} r={data.length > 40 ? 1 : 2.5} fill={color}>
          <title>{title(i)}</title>
        </circle>
      )))}
    </g>
  );
}
