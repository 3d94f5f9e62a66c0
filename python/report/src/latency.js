// Latency: how long requests took, as percentiles, density and cumulated share.
import { by_variant, variant_index, variant_name, workloads } from './data.js';
import { choice, empty, h, picker, table } from './dom.js';
import { escape, figure, tip_row } from './chart.js';
import { axis, grouped, percent, time } from './format.js';
import { DASHES } from './palette.js';

const PERCENTILES = ['50', '90', '99', '99.9', '99.99'];
const DENSITY_BINS = 70;
const NARROW = matchMedia('(max-width: 600px)');

const total = (histogram) => Number(histogram.count);
const bounds = (histogram) => (histogram.buckets ?? []).map(([upper, count]) => [Math.min(Number(upper), Number(histogram.max)), Number(count)]);

// [1 / (1 - share below), value]: from there on, that share of requests took at most this long.
function percentile_points(histogram) {
    const n = total(histogram);
    let below = 0;
    const points = [];
    for (const [upper, count] of bounds(histogram)) {
        points.push([n / (n - below), upper]);
        below += count;
    }
    if (points.length) points.push([Math.max(n, 1), Number(histogram.max)]);
    return points;
}

function cumulative_points(histogram) {
    let below = 0;
    const points = [[Number(histogram.min), 0]];
    for (const [upper, count] of bounds(histogram)) points.push([upper, (below += count) / total(histogram)]);
    return points;
}

// Share of requests per bin; the bins are equally wide on a logarithmic axis and the same for all variants.
function density_points(histogram, low, high) {
    const step = Math.log(high / low) / DENSITY_BINS || 1;
    const bins = new Array(DENSITY_BINS + 1).fill(0);
    for (const [upper, count] of bounds(histogram)) bins[Math.min(DENSITY_BINS, Math.floor(Math.log(Math.max(upper, low) / low) / step))] += count;
    const points = bins.map((count, bin) => [low * Math.exp((bin + 0.5) * step), count / total(histogram)]);
    return [[low, 0], ...points, [high * Math.exp(step), 0]];
}

const share_label = (x) => {
    const nines = Math.round(Math.log10(x));
    return nines <= 0 ? '0%' : nines === 1 ? '90%' : nines === 2 ? '99%' : `99.${'9'.repeat(nines - 2)}%`;
};
const share_text = (x) => {
    const share = 100 * (1 - 1 / x);
    return `${share.toFixed(share < 99 ? 1 : share < 99.9 ? 2 : share < 99.99 ? 3 : 4)}%`;
};

function option(view, entries, result, colours, width) {
    const small = width < 560;
    const low = Math.max(1, Math.min(...entries.map(({ value }) => Number(value.min))));
    const high = Math.max(...entries.map(({ value }) => Number(value.max)));
    const points = { percentiles: percentile_points, cumulative: cumulative_points, density: (one) => density_points(one, low, high) }[view];
    const wide = high / low > 30;
    const value_axis = {
        type: view === 'percentiles' && !wide ? 'value' : 'log', name: 'latency', axisLabel: { formatter: axis('ps'), hideOverlap: true, ...(view === 'percentiles' ? {} : { showMinLabel: false, showMaxLabel: false }) },
        max: view === 'percentiles' ? undefined : (edge) => edge.max * 1.08,
        min: view === 'percentiles' ? (wide ? 10 ** Math.floor(Math.log10(low)) : 0) : (edge) => edge.min / 1.08, minorSplitLine: { show: false },
    };
    if (view !== 'percentiles' && !wide) Object.assign(value_axis, { logBase: 2 });
    const share_axis = view === 'percentiles'
        ? { type: 'log', min: 1, name: small ? '' : 'share of requests that took at most this long', axisLabel: { formatter: share_label, hideOverlap: true } }
        : { type: 'value', min: 0, max: view === 'cumulative' ? 1 : undefined, name: small ? '' : view === 'cumulative' ? 'share that took at most this long' : 'share of requests', axisLabel: { formatter: (share) => `${+(share * 100).toPrecision(3)}%` } };
    const bottom = { nameLocation: 'middle', nameGap: 30 };
    const side = { nameLocation: 'end', nameGap: 14, nameTextStyle: { align: 'left' } };
    return {
        grid: { left: 8, right: small ? 20 : view === 'percentiles' ? 84 : 24, top: small ? 40 : 66, bottom: small && view === 'percentiles' ? 8 : 30, containLabel: true },
        legend: { top: 0, left: 0 },
        tooltip: {
            trigger: 'axis', axisPointer: { type: 'line', lineStyle: { color: colours.muted } },
            formatter: (items) => {
                const x = items[0].axisValue ?? items[0].value[0];
                const head = view === 'percentiles' ? `${share_text(x)} took at most` : `about ${time(x)}`;
                const seen = new Map(items.map((item) => [item.seriesName, item]));
                return `<div>${escape(head)}</div>` + [...seen.values()].map((item) => tip_row(item.color, item.seriesName, view === 'percentiles' ? time(item.value[1]) : percent(item.value[1]))).join('');
            },
        },
        xAxis: view === 'percentiles' ? { ...share_axis, ...bottom } : { ...value_axis, ...bottom },
        yAxis: view === 'percentiles' ? { ...value_axis, ...side } : { ...share_axis, ...side },
        series: entries.map(({ variant, value }) => {
            const index = variant_index(result, variant);
            const colour = colours.series[index % colours.series.length];
            return {
                type: 'line', name: variant_name(variant), data: points(value), showSymbol: false, color: colour,
                step: view === 'percentiles' ? 'end' : false, smooth: view === 'density' ? 0.25 : false,
                lineStyle: { width: 2.5, type: DASHES[index % DASHES.length] },
                endLabel: { show: !small && view === 'percentiles', formatter: '{a}', color: colour, fontWeight: 600, fontSize: 13, distance: 8, padding: 3 }, labelLayout: { moveOverlap: 'shiftY' },
                areaStyle: view === 'density' ? { opacity: colours.dark ? 0.18 : 0.12 } : undefined,
            };
        }),
    };
}

const exact = (ps) => ({ text: time(ps), value: ps, title: `${grouped(ps)} ps` });

export function percentile_table(entries) {
    const heads = ['', 'requests', 'least', ...PERCENTILES.map((name) => `p${name}`), 'most', 'mean'];
    const rows = entries.map(({ variant, value }) => [
        variant_name(variant), { text: grouped(value.count), value: value.count }, exact(value.min),
        ...PERCENTILES.map((name) => (value.percentiles?.[name] === undefined ? '\u2013' : exact(value.percentiles[name]))), exact(value.max), exact(value.mean)]);
    const all = [heads, ...rows];
    // On a narrow page variants stand beside each other.
    const [top, ...body] = NARROW.matches ? heads.map((_, column) => all.map((row) => row[column])) : all;
    return table(top, body, { class: 'numbers', label: 'Percentiles of latency' });
}

export function latency_section(result) {
    const all = by_variant(result, 'latency');
    if (!all.length) return null;
    let workload = all[0].workload;
    let view = 'percentiles';
    const chosen = () => all.filter((entry) => entry.workload === workload);
    const numbers = h('div', { id: 'latency-table' });
    const shown = figure({
        id: 'latency-chart', title: 'How long requests took',
        note: () => ({
            percentiles: 'Each step to the right on the axis is ten times rarer; a flat line means that even rare requests are no slower.',
            density: 'Where the requests lie. Bins are equally wide on the logarithmic axis.',
            cumulative: 'The share of requests that took at most so long.',
        })[view],
        controls: [
            choice('View', [['percentiles', 'Percentiles'], ['density', 'Density'], ['cumulative', 'Cumulative']], view, (value) => { view = value; shown.refresh(); }),
            workloads(all).length > 1 && picker('Workload', workloads(all).map((name) => [name, name]), workload, (value) => { workload = value; fill(); shown.refresh(); }),
        ],
        option: (colours, width) => option(view, chosen(), result, colours, width),
        rows: () => [['variant', 'workload', 'upper_ps', 'count'], ...chosen().flatMap(({ variant, value }) => (value.buckets ?? []).map(([upper, count]) => [variant, workload, upper, count]))],
        height: (width) => (width < 560 ? 340 : 420),
    });
    const fill = () => numbers.replaceChildren(percentile_table(chosen()));
    fill();
    NARROW.addEventListener('change', fill);
    return [shown.element, numbers, chosen().some(({ value }) => !value.buckets?.length) && empty('Some histograms came without buckets: their curves are missing.')];
}
