/* What stands in for a page: while its chunk loads, when it fails, when there is none. */
import { Button, Skeleton } from '@mantine/core';
import { Link, type ErrorComponentProps } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { Empty } from './bits';
import { Failure } from './Page';

export function Loading() {
  return (
    <div aria-busy="true">
      <Skeleton h={12} w={140} mb={12} />
      <Skeleton h={22} w={240} mb={24} />
      <Skeleton h={220} />
    </div>
  );
}

export function Crashed({ error, reset }: ErrorComponentProps) {
  return <Failure error={error} retry={reset} />;
}

export function Missing() {
  const { t } = useTranslation();
  return (
    <Empty
      title={t('errors.noPage')}
      text={t('errors.noPageText')}
      action={
        <Button renderRoot={(p) => <Link to="/" {...p} />} variant="default">
          {t('errors.home')}
        </Button>
      }
    />
  );
}

/** The same, where no shell stands around it. */
export function MissingPage() {
  return (
    <main className="main" style={{ margin: '0 auto' }}>
      <Missing />
    </main>
  );
}
