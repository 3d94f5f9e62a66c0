// Several runs: a measure over the swept parameter, with confidence intervals over seeds, and the list of points.
import { escape, figure, legend_height, tip_row } from './chart.js';
import { interval } from './confidence.js';
import { variant_name } from './data.js';
import { empty, h, picker, table } from './dom.js';
import { axis, by_unit, grouped } from './format.js';
import { DASHES, SYMBOLS } from './palette.js';

const natural = (a, b) => String(a).localeCompare(String(b), 'en', { numeric: true });

// Names of parameters with more than one value among the points.
export function varied(points) {
    const names = [...new Set(points.flatMap((point) => Object.keys(point.parameters)))];
    return names.filter((name) => new Set(points.map((point) => String(point.parameters[name]))).size > 1);
}

// Lines of one measure: [{name, variant, at: [{x, mean, half, n}]}].
export function curves(points, measure, over) {
    const others = varied(points).filter((name) => name !== over);
    const lines = new Map();
    for (const point of points) {
        for (const [name, variant, value] of point.measures) {
            if (name !== measure) continue;
            const apart = others.map((other) => `${other} = ${point.parameters[other]}`);
            const key = [...(variant ? [variant] : []), ...apart].join(', ') || variant_name(variant);
            if (!lines.has(key)) lines.set(key, { name: key, variant, values: new Map() });
            const x = over ? point.parameters[over] : point.path;
            const values = lines.get(key).values;
            values.set(x, [...(values.get(x) ?? []), Number(value)]);
        }
    }
    return [...lines.values()].map(({ name, variant, values }) => ({ name, variant, at: [...values].sort((a, b) => natural(a[0], b[0])).map(([x, list]) => ({ x, ...interval(list) })) }));
}

function error_bar(colour) {
    return (_, api) => {
        const [x, top] = api.coord([api.value(0), api.value(2)]);
        const bottom = api.coord([api.value(0), api.value(1)])[1];
        const style = { stroke: colour, lineWidth: 1.5, fill: 'none' };
        const line = (x1, y1, x2, y2) => ({ type: 'line', shape: { x1, y1, x2, y2 }, style });
        return { type: 'group', children: [line(x, top, x, bottom), line(x - 5, top, x + 5, top), line(x - 5, bottom, x + 5, bottom)] };
    };
}

function option(lines, over, unit, variants, colours, width) {
    const xs = [...new Set(lines.flatMap((line) => line.at.map((one) => one.x)))].sort(natural);
    const numeric = xs.every((x) => typeof x === 'number');
    const log = numeric && xs.length > 2 && xs[0] > 0 && xs.at(-1) / xs[0] > 20;
    const several_variants = new Set(lines.map((line) => line.variant)).size > 1;
    const index_of = (line, index) => (several_variants && variants.includes(line.variant) && lines.length <= variants.length ? variants.indexOf(line.variant) : index);
    const place = (x) => (numeric ? x : String(x));
    return {
        grid: { left: 8, right: 28, top: 14 + legend_height(lines.map((line) => line.name), width), bottom: 34, containLabel: true },
        legend: { top: 0, left: 0, data: lines.map((line) => line.name) },
        tooltip: {
            trigger: 'axis', formatter: (items) => `<div>${escape(over || 'run')} ${escape(items[0].axisValue)}</div>` + items.filter((item) => item.seriesType === 'line').map((item) => {
                const one = lines.find((line) => line.name === item.seriesName).at.find(({ x }) => String(x) === String(item.value[0]));
                return tip_row(item.color, item.seriesName, by_unit(one.mean, unit) + (one.half === null ? '' : ` ± ${by_unit(one.half, unit)}`));
            }).join(''),
        },
        xAxis: numeric
            ? { type: log ? 'log' : 'value', logBase: 2, name: over, nameLocation: 'middle', nameGap: 28, min: xs[0], max: xs.at(-1), splitLine: { show: false }, axisLabel: { formatter: (value) => by_unit(value, '') } }
            : { type: 'category', data: xs.map(String), name: over, nameLocation: 'middle', nameGap: 28, axisLabel: { interval: 0, hideOverlap: true, formatter: (text) => (text.length > 18 ? `…${text.slice(-17)}` : text) } },
        yAxis: { type: 'value', min: 0, axisLabel: { formatter: axis(unit) } },
        series: lines.flatMap((line, position) => {
            const index = index_of(line, position);
            const colour = colours.series[index % 7];
            const bars = line.at.filter((one) => one.half !== null);
            return [
                { type: 'line', name: line.name, color: colour, symbol: SYMBOLS[index % SYMBOLS.length], symbolSize: 8, lineStyle: { width: 2.5, type: DASHES[index % DASHES.length] }, data: line.at.map((one) => [place(one.x), one.mean]) },
                { type: 'custom', silent: true, color: colour, clip: false, encode: { x: 0, y: [1, 2] }, renderItem: error_bar(colour), data: bars.map((one) => [place(one.x), one.mean - one.half, one.mean + one.half]) },
            ];
        }),
    };
}

export function curves_section(data) {
    const measures = Object.keys(data.units);
    if (!measures.length) return null;
    const parameters = varied(data.points);
    let over = parameters[0] ?? '';
    let measure = data.main && measures.includes(data.main) ? data.main : measures[0];
    const lines = () => curves(data.points, measure, over);
    const shown = figure({
        id: 'sweep-chart', title: 'Over the swept parameter',
        note: () => {
            const counts = lines().flatMap((line) => line.at.map((one) => one.n));
            const most = Math.max(...counts);
            return most > 1 ? `Means over up to ${most} seeds; bars are 95% confidence intervals.` : 'One run for each point: no interval can be given. Run several seeds to get one.';
        },
        controls: [
            picker('Measure', measures.map((name) => [name, name]), measure, (value) => { measure = value; shown.refresh(); }),
            parameters.length > 1 && picker('over', parameters.map((name) => [name, name]), over, (value) => { over = value; shown.refresh(); }),
        ],
        option: (colours, width) => option(lines(), over, data.units[measure], data.variants, colours, width),
        rows: () => [[over || 'run', 'line', `mean (${data.units[measure]})`, 'half_width_95', 'seeds'], ...lines().flatMap((line) => line.at.map((one) => [one.x, line.name, one.mean, one.half ?? '', one.n]))],
        height: (width) => (width < 560 ? 380 : 460),
    });
    return [shown.element];
}

export function points_section(data) {
    const parameters = varied(data.points);
    const rows = [...data.points].sort((a, b) => natural(a.path, b.path)).map((point) => [
        point.report ? h('a', { href: point.report }, point.path) : point.path, ...parameters.map((name) => String(point.parameters[name] ?? '')), String(point.seed),
        { text: `${point.passed} of ${point.checks}`, class: point.passed === point.checks && point.ended === 'finished' ? 'ok' : 'failed' }, point.ended, { text: h('code', {}, String(point.hash).slice(0, 12)), title: point.hash }]);
    return h('div', { class: 'card' }, table(['run', ...parameters, 'seed', 'checks', 'ended', 'trace hash'], rows, { label: 'Runs' }));
}

export function sweep_head(data) {
    const good = data.points.filter((point) => point.passed === point.checks && point.ended === 'finished').length;
    const scenarios = [...new Set(data.points.map((point) => point.scenario))];
    const seeds = new Set(data.points.map((point) => String(point.seed))).size;
    return h('header', { class: 'head', id: 'top' }, h('p', { class: 'eyebrow' }, scenarios.map((one) => one.split('/').slice(-2).join('/')).join(', ')), h('h1', {}, data.name),
        h('p', { class: 'status' }, h('span', { class: `pill ${good === data.points.length ? 'good' : 'bad'}`, id: 'verdict' }, `${good} of ${data.points.length} runs passed`),
            h('span', { class: 'pill' }, `${grouped(seeds)} seed${seeds === 1 ? '' : 's'}`),
            varied(data.points).map((name) => h('span', { class: 'pill' }, `${name}: ${[...new Set(data.points.map((point) => point.parameters[name]))].sort(natural).slice(0, 8).join(', ')}`))),
        data.skipped.length > 0 && empty(`Left out, since they could not be read: ${data.skipped.join(', ')}.`));
}
