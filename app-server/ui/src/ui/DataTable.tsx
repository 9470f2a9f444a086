/* Server-paged list: sorting, paging, a choice of columns, selection with bulk actions, skeletons, an empty state. */
import { ActionIcon, Button, Checkbox, Pagination, Popover, Skeleton, Stack, TextInput, Tooltip } from '@mantine/core';
import { IconArrowDown, IconArrowUp, IconColumns, IconSearch } from '@tabler/icons-react';
import { useNavigate, type LinkProps } from '@tanstack/react-router';
import { useEffect, useRef, useState, type MouseEvent, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { PAGE_SIZE, type ListSearch } from '../lib/list';
import { Failure } from './Page';

export interface Column<R> {
  id: string;
  label: string;
  render: (row: R) => ReactNode;
  numeric?: boolean;
  grow?: boolean;
  /** Left out on a phone. */
  wide?: boolean;
  /** The API's name of the order. */
  sort?: string;
  /** Shown only when chosen. */
  extra?: boolean;
}

interface Props<R> {
  name: string;
  label: string;
  columns: Column<R>[];
  rows: R[] | undefined;
  total: number | undefined;
  rowKey: (row: R) => string;
  rowName: (row: R) => string;
  rowLink?: (row: R) => LinkProps;
  search: ListSearch;
  onSearch: (next: ListSearch) => void;
  empty: ReactNode;
  error?: unknown;
  retry?: () => void;
  filters?: ReactNode;
  noSearch?: boolean;
  bulk?: { label: string; run: (rows: R[]) => void };
}

const cellClass = (c: { numeric?: boolean; grow?: boolean; wide?: boolean }) => `${c.numeric ? 'num' : ''} ${c.grow ? 'grow' : ''} ${c.wide ? 'narrow-hide' : ''}`;

function kept(name: string): string[] | undefined {
  try {
    const raw = localStorage.getItem(`longwave.columns.${name}`);
    return raw ? (JSON.parse(raw) as string[]) : undefined;
  } catch {
    return undefined;
  }
}

export function SearchField({ value, onChange }: { value: string; onChange: (v: string) => void }) {
  const { t } = useTranslation();
  const [text, setText] = useState(value);
  const sent = useRef(value);
  const report = useRef(onChange);
  report.current = onChange;
  useEffect(() => {
    if (value !== sent.current) {
      sent.current = value;
      setText(value);
    }
  }, [value]);
  useEffect(() => {
    if (text === sent.current) return;
    const timer = setTimeout(() => {
      sent.current = text;
      report.current(text);
    }, 180);
    return () => clearTimeout(timer);
  }, [text]);
  return <TextInput w={{ base: '100%', xs: 280 }} aria-label={t('common.search')} placeholder={t('common.search')} leftSection={<IconSearch size={15} />} value={text} onChange={(e) => setText(e.currentTarget.value)} />;
}

/** A table that shows all it has. */
export function PlainTable<R>({ label, columns, rows, rowKey, children }: { label: string; columns: Column<R>[]; rows: readonly R[]; rowKey: (row: R) => string | number; children?: ReactNode }) {
  return (
    <div className="table-wrap" tabIndex={0} role="region" aria-label={label}>
      <table className="table">
        <caption className="visually-hidden">{label}</caption>
        <thead>
          <tr>
            {columns.map((c) => (
              <th key={c.id} scope="col" className={`${c.numeric ? 'num' : ''} ${c.wide ? 'narrow-hide' : ''}`}>
                {c.label}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={rowKey(row)}>
              {columns.map((c) => (
                <td key={c.id} className={cellClass(c)}>
                  {c.render(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      {children}
    </div>
  );
}

/** How many there are, and the way to the rest of them. */
export function Pager({ total, page, onPage }: { total: number | undefined; page: number; onPage: (page: number) => void }) {
  const { t } = useTranslation();
  const pages = Math.max(1, Math.ceil((total ?? 0) / PAGE_SIZE));
  return (
    <div className="pager tabular">
      <span>{total === undefined ? '' : t('common.entries', { count: total })}</span>
      {pages > 1 && <Pagination size="sm" total={pages} value={page} onChange={onPage} getControlProps={(control) => ({ 'aria-label': t(`common.page_${control}`) })} getItemProps={(n) => ({ 'aria-label': t('common.page_n', { n }) })} />}
    </div>
  );
}

export function DataTable<R>(p: Props<R>) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const [chosen, setChosen] = useState<string[]>(() => kept(p.name) ?? p.columns.filter((c) => !c.extra).map((c) => c.id));
  const [choosing, setChoosing] = useState(false);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const columns = p.columns.filter((c, i) => i === 0 || chosen.includes(c.id));
  const page = p.search.page ?? 1;
  const rows = p.rows ?? [];
  const marked = rows.filter((r) => selected.has(p.rowKey(r)));
  const choose = (id: string) => {
    const next = chosen.includes(id) ? chosen.filter((c) => c !== id) : [...chosen, id];
    setChosen(next);
    localStorage.setItem(`longwave.columns.${p.name}`, JSON.stringify(next));
  };
  const toggle = (keys: string[], on: boolean) =>
    setSelected((old) => {
      const next = new Set(old);
      keys.forEach((k) => (on ? next.add(k) : next.delete(k)));
      return next;
    });
  const go = (e: MouseEvent, row: R) => {
    if (!p.rowLink || (e.target as HTMLElement).closest('a,button,input,label') || window.getSelection()?.toString()) return;
    void navigate(p.rowLink(row));
  };

  if (p.error) return <Failure error={p.error} retry={p.retry} />;
  const nothing = p.rows !== undefined && rows.length === 0;
  const bare = nothing && !p.search.q && page === 1;
  return (
    <>
      <div className="toolbar">
        {!p.noSearch && <SearchField value={p.search.q ?? ''} onChange={(q) => p.onSearch({ ...p.search, q: q || undefined, page: undefined })} />}
        {p.filters}
        <span className="spacer" />
        {p.bulk && marked.length > 0 && (
          <Button size="xs" variant="default" onClick={() => p.bulk?.run(marked)}>
            {p.bulk.label} ({marked.length})
          </Button>
        )}
        <Popover opened={choosing} onChange={setChoosing} position="bottom-end" shadow="md" transitionProps={{ duration: 100 }} trapFocus>
          <Popover.Target>
            <Tooltip label={t('common.columns')}>
              <ActionIcon variant="default" size={34} aria-label={t('common.columns')} onClick={() => setChoosing(!choosing)}>
                <IconColumns size={16} />
              </ActionIcon>
            </Tooltip>
          </Popover.Target>
          <Popover.Dropdown aria-label={t('common.columns')}>
            <Stack gap={10}>
              {p.columns.slice(1).map((c) => (
                <Checkbox key={c.id} size="xs" label={c.label} checked={chosen.includes(c.id)} onChange={() => choose(c.id)} />
              ))}
            </Stack>
          </Popover.Dropdown>
        </Popover>
      </div>
      <div className="card">
        {bare ? (
          p.empty
        ) : (
          <div className="table-wrap" tabIndex={0} role="region" aria-label={p.label}>
            <table className="table">
              <caption className="visually-hidden">{p.label}</caption>
              <thead>
                <tr>
                  {p.bulk && (
                    <th className="check" scope="col">
                      <Checkbox size="xs" aria-label={t('common.selectAll')} checked={rows.length > 0 && marked.length === rows.length} indeterminate={marked.length > 0 && marked.length < rows.length} onChange={(e) => toggle(rows.map(p.rowKey), e.currentTarget.checked)} />
                    </th>
                  )}
                  {columns.map((c) => {
                    const on = c.sort !== undefined && p.search.sort === c.sort;
                    return (
                      <th key={c.id} scope="col" className={`${c.numeric ? 'num' : ''} ${c.wide ? 'narrow-hide' : ''}`} aria-sort={on ? (p.search.desc ? 'descending' : 'ascending') : undefined}>
                        {c.sort ? (
                          <button type="button" onClick={() => p.onSearch({ ...p.search, page: undefined, sort: c.sort, desc: on && !p.search.desc ? true : undefined })}>
                            {c.label}
                            {on && (p.search.desc ? <IconArrowDown size={12} aria-hidden /> : <IconArrowUp size={12} aria-hidden />)}
                          </button>
                        ) : (
                          c.label
                        )}
                      </th>
                    );
                  })}
                </tr>
              </thead>
              <tbody>
                {p.rows === undefined &&
                  Array.from({ length: 6 }, (_, i) => (
                    <tr key={i}>
                      {p.bulk && <td className="check" />}
                      {columns.map((c) => (
                        <td key={c.id} className={c.wide ? 'narrow-hide' : ''}>
                          <Skeleton h={12} w={c.numeric ? 40 : '70%'} />
                        </td>
                      ))}
                    </tr>
                  ))}
                {rows.map((row) => {
                  const key = p.rowKey(row);
                  return (
                    <tr key={key} className={p.rowLink ? 'clickable' : ''} onClick={(e) => go(e, row)}>
                      {p.bulk && (
                        <td className="check">
                          <Checkbox size="xs" aria-label={`${t('common.select')} ${p.rowName(row)}`} checked={selected.has(key)} onChange={(e) => toggle([key], e.currentTarget.checked)} />
                        </td>
                      )}
                      {columns.map((c) => (
                        <td key={c.id} className={cellClass(c)}>
                          {c.render(row)}
                        </td>
                      ))}
                    </tr>
                  );
                })}
                {nothing && !bare && (
                  <tr>
                    <td colSpan={columns.length + 1} className="dim" style={{ textAlign: 'center', height: 96 }}>
                      {t('common.noMatch')}
                    </td>
                  </tr>
                )}
              </tbody>
            </table>
          </div>
        )}
        {!bare && <Pager total={p.total} page={page} onPage={(n) => p.onSearch({ ...p.search, page: n > 1 ? n : undefined })} />}
      </div>
    </>
  );
}
