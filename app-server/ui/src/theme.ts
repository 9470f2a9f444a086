/* One accent, calm surfaces, colours only for state. Light and dark are both chosen by hand; every text colour has at
 * least 4.5:1 on the surfaces it stands on. */
import { createTheme, type CSSVariablesResolver, type MantineColorsTuple } from '@mantine/core';

const wave: MantineColorsTuple = ['#eff4ff', '#dde7fb', '#b9cdf5', '#93b1ee', '#7b9eeb', '#5c86e4', '#4a76dc', '#3560c2', '#2b519f', '#22427f'];
const dark: MantineColorsTuple = ['#d5dbe3', '#b4bdc9', '#98a3b1', '#6d7887', '#3b4450', '#2a313b', '#1d232b', '#12161b', '#0e1115', '#090b0e'];

export const theme = createTheme({
  primaryColor: 'wave',
  primaryShade: 7,
  colors: { wave, dark },
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Ubuntu, sans-serif',
  fontFamilyMonospace: 'ui-monospace, "SF Mono", "Cascadia Mono", "JetBrains Mono", "DejaVu Sans Mono", monospace',
  fontSizes: { xs: '12px', sm: '13px', md: '14px', lg: '16px', xl: '18px' },
  defaultRadius: 6,
  respectReducedMotion: true,
  headings: { fontWeight: '600' },
  components: {
    InputWrapper: { defaultProps: { inputWrapperOrder: ['label', 'input', 'description', 'error'] } },
    Button: { defaultProps: { size: 'sm' } },
    Modal: { defaultProps: { transitionProps: { duration: 120 }, centered: true } },
    // The placeholder is a child that a menu must not have.
    Menu: { defaultProps: { withInitialFocusPlaceholder: false, transitionProps: { duration: 100 }, shadow: 'md' } },
    Tooltip: { defaultProps: { openDelay: 350, transitionProps: { duration: 100 }, multiline: true, maw: 320 } },
    Select: { defaultProps: { comboboxProps: { transitionProps: { duration: 100 }, shadow: 'md' } } },
    Skeleton: { defaultProps: { radius: 4 } },
  },
});

export const variables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    '--mantine-color-body': '#f6f7f9',
    '--mantine-color-text': '#1b222c',
    '--mantine-color-dimmed': '#586474',
    '--mantine-color-placeholder': '#6c7786',
    '--mantine-color-default': '#ffffff',
    '--mantine-color-default-hover': '#f1f3f6',
    '--mantine-color-default-border': '#d3d9e1',
    '--mantine-color-error': '#c02b2b',
    '--mantine-color-anchor': '#2b519f',
  },
  dark: {
    '--mantine-color-body': '#12161b',
    '--mantine-color-text': '#d5dbe3',
    '--mantine-color-dimmed': '#98a3b1',
    '--mantine-color-placeholder': '#8590a0',
    '--mantine-color-default': '#1a2027',
    '--mantine-color-default-hover': '#222932',
    '--mantine-color-default-border': '#343d49',
    '--mantine-color-error': '#ff8a80',
    '--mantine-color-anchor': '#93b1ee',
  },
});
