// Colours. Those of series are Okabe and Ito's, which people with any colour blindness tell apart; for dark pages they are
// lighter. Nothing is told by colour alone: lines differ in dashes, bars carry labels.

const LIGHT = {
    dark: false, text: '#1d2a2b', muted: '#5b6b6c', line: '#d6dedd', grid: '#e8edec', card: '#ffffff',
    series: ['#c2570c', '#0072b2', '#008f6b', '#a5478a', '#8a6d00', '#3b6fb6', '#6b6b6b'],
    less: '#00785a', more: '#c2570c', idle: '#e6ebea',
    guest: ['#0b4f7d', '#2b7bb0', '#5fa5d3', '#9cc9e8', '#cfe5f4', '#27408b', '#6a7fc8', '#a9b6e8'],
    hypervisor: ['#a84300', '#d9731a', '#f0a04b', '#f6c68c', '#8f5a1e', '#fbe3c6', '#6b2a12', '#c98f62', '#e8b07a'],
    root: ['#00614a', '#1b9273', '#5dbb9f', '#9fd9c6', '#3f7f5f'],
    hardware: ['#6f3a6b', '#9c6398', '#c197bd', '#e0c8de'], signal: ['#b08d00', '#dcbf4a', '#efe0a0'], wait: ['#7d8a8a', '#a9b4b4'], other: ['#4a5a8a', '#7f8fc0', '#b4bfe0'],
};
const DARK = {
    dark: true, text: '#e4ecea', muted: '#9fb1af', line: '#334343', grid: '#283636', card: '#172222',
    series: ['#f5973d', '#5ab4ec', '#35c79b', '#dd8fc4', '#e3c04a', '#9bb8ff', '#b5b5b5'],
    less: '#35c79b', more: '#f5973d', idle: '#263434',
    guest: ['#2f86c4', '#5ab4ec', '#8fcdf3', '#b9e0f8', '#1f5f8f', '#7f90e0', '#aab6f0', '#5566b8'],
    hypervisor: ['#d9731a', '#f5973d', '#f8b877', '#fbd7ae', '#a8561a', '#8a6a45', '#e8583a', '#c9a27c', '#f3c9a0'],
    root: ['#1d9b78', '#35c79b', '#7adfc0', '#b0eedb', '#146a53'],
    hardware: ['#b376ae', '#d79fd2', '#ecc6e8', '#8a5486'], signal: ['#e3c04a', '#f2dc8a', '#b3942f'], wait: ['#8a9797', '#b3bebe'], other: ['#7f90d0', '#a9b6e8', '#5a6aa8'],
};
export const DASHES = ['solid', [9, 4], [14, 4, 3, 4], [4, 3], [18, 5], [2, 3], [9, 3, 2, 3, 2, 3]];
export const SYMBOLS = ['circle', 'rect', 'triangle', 'diamond', 'pin', 'arrow', 'roundRect'];

let printing = false;
const dark_wanted = matchMedia('(prefers-color-scheme: dark)');
const redraws = [];

export function is_dark() {
    const theme = document.documentElement.dataset.theme;
    return !printing && (theme ? theme === 'dark' : dark_wanted.matches);
}
export const palette = () => (is_dark() ? DARK : LIGHT);
export const on_redraw = (redraw) => redraws.push(redraw);
export const redraw_all = () => redraws.forEach((redraw) => redraw(printing));

export function set_theme(theme) {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    redraw_all();
}
dark_wanted.addEventListener('change', redraw_all);
for (const [event, value] of [['beforeprint', true], ['afterprint', false]]) {
    addEventListener(event, () => {
        printing = value;
        redraw_all();
    });
}

// Causes by who spends the time, in a fixed order; within a family from the largest on.
const FAMILIES = {
    guest: 'guest', client: 'guest', server: 'guest', application: 'guest', hypervisor: 'hypervisor', vmbus: 'hypervisor', root: 'root', switch: 'root',
    pci: 'hardware', iommu: 'hardware', nic: 'hardware', wire: 'hardware', peer: 'hardware', interrupt: 'signal', wait: 'wait', idle: 'idle',
};
const ORDER = ['guest', 'hypervisor', 'root', 'hardware', 'signal', 'other', 'wait', 'idle'];
export const family = (cause) => FAMILIES[cause.split('.')[0]] ?? 'other';

export function order_causes(totals) {
    return [...totals.keys()].sort((a, b) =>
        ORDER.indexOf(family(a)) - ORDER.indexOf(family(b)) || Number(totals.get(b)) - Number(totals.get(a)) || (a < b ? -1 : 1));
}
export function cause_colours(causes) {
    const colours = palette();
    const seen = {};
    return new Map(causes.map((cause) => {
        const kind = family(cause);
        if (kind === 'idle') return [cause, colours.idle];
        const index = seen[kind] = (seen[kind] ?? -1) + 1;
        return [cause, colours[kind][index % colours[kind].length]];
    }));
}
