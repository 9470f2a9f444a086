/* Search over everything (Ctrl-K): the server finds by name, EUI, DevAddr and tag; pages are found here. */
import '@mantine/spotlight/styles.css';
import { Spotlight, createSpotlight } from '@mantine/spotlight';
import { useDebouncedValue } from '@mantine/hooks';
import { IconAntenna, IconBox, IconBuilding, IconCpu, IconSearch } from '@tabler/icons-react';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useNavigate, type NavigateOptions } from '@tanstack/react-router';
import { useEffect, useState, type ReactNode } from 'react';
import { useTranslation } from 'react-i18next';
import { api, ok, type Schemas } from '../api/client';
import { groupByTwo } from '../lib/format';

type Result = Schemas['api.GlobalSearchResult'];
const [store, spotlight] = createSpotlight();
// A list that is longer than its room is scrolled by keys, too. Its types do not know what it passes on.
const SCROLLED = { viewportProps: { tabIndex: 0 } };

function place(r: Result): { title: string; detail: string; icon: ReactNode; to: NavigateOptions } | undefined {
  const icon = { size: 18, stroke: 1.7 } as const;
  switch (r.kind) {
    case 'device':
      return { title: r.deviceName, detail: `${groupByTwo(r.deviceDevEui)} · ${r.applicationName}`, icon: <IconCpu {...icon} />, to: { to: '/devices/$devEui', params: { devEui: r.deviceDevEui } } };
    case 'gateway':
      return { title: r.gatewayName, detail: groupByTwo(r.gatewayId), icon: <IconAntenna {...icon} />, to: { to: '/gateways/$gatewayId', params: { gatewayId: r.gatewayId } } };
    case 'application':
      return { title: r.applicationName, detail: r.tenantName, icon: <IconBox {...icon} />, to: { to: '/applications/$applicationId', params: { applicationId: r.applicationId } } };
    case 'tenant':
      return { title: r.tenantName, detail: '', icon: <IconBuilding {...icon} />, to: { to: '/t/$tenantId', params: { tenantId: r.tenantId } } };
    default:
      return undefined;
  }
}

export default function Search({ close }: { close: () => void }) {
  const { t } = useTranslation();
  const navigate = useNavigate();
  const [text, setText] = useState('');
  const [search] = useDebouncedValue(text.trim(), 150);
  const found = useQuery({
    queryKey: ['search', search],
    queryFn: ({ signal }) => ok(api.POST('/api/internal/search', { body: { search, limit: '20', offset: '0' }, signal })),
    enabled: search !== '',
    placeholderData: keepPreviousData,
  });
  useEffect(() => spotlight.open(), []);
  const results = search === '' ? [] : (found.data?.result ?? []);
  return (
    <Spotlight.Root store={store} query={text} onQueryChange={setText} shortcut={null} onSpotlightClose={close} scrollable maxHeight={420} transitionProps={{ duration: 100 }} clearQueryOnClose={false}>
      <Spotlight.Search placeholder={t('search.placeholder')} aria-label={t('shell.search')} leftSection={<IconSearch size={18} />} />
      <Spotlight.ActionsList {...SCROLLED}>
        {results.map((r, i) => {
          const p = place(r);
          return p && <Spotlight.Action key={`${r.kind}${r.deviceDevEui || r.gatewayId || r.applicationId || r.tenantId}${i}`} label={p.title} description={p.detail} leftSection={p.icon} onClick={() => void navigate(p.to)} />;
        })}
        {results.length === 0 && <Spotlight.Empty>{search === '' ? t('search.hint') : found.isFetching ? t('search.searching') : found.error ? found.error.message : t('search.nothing', { search })}</Spotlight.Empty>}
      </Spotlight.ActionsList>
    </Spotlight.Root>
  );
}
