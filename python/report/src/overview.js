// The top of the page: what ran, how it ended, and the compared variants side by side.
import { finding } from './attribution.js';
import { by_variant, differences, variant_index, variant_name, workloads } from './data.js';
import { h, table } from './dom.js';
import { bit_rate, bytes, compact, grouped, percent, rate, time } from './format.js';
import { cpu_rows } from './processors.js';

const ENDINGS = {
    finished: 'finished', timeout: 'ended: something awaited did not come', until: 'ended at --until', interrupted: 'interrupted', error: 'ended by an error in the scenario',
};

export function head(result, name) {
    const checks = result.checks ?? [];
    const passed = checks.filter((check) => check.passed).length;
    const good = passed === checks.length && result.ended === 'finished';
    const hash = result.trace_hash ?? '';
    const copy = h('button', {
        type: 'button', class: 'quiet', onclick: async () => {
            await navigator.clipboard?.writeText(hash).catch(() => {});
            copy.textContent = 'copied';
            setTimeout(() => (copy.textContent = 'copy'), 1200);
        },
    }, 'copy');
    const fact = (label, ...value) => h('div', {}, h('dt', {}, label), h('dd', {}, value));
    const scenario = String(result.scenario ?? '');
    return h('header', { class: 'head', id: 'top' },
        h('p', { class: 'eyebrow' }, scenario.split('/').slice(-2).join('/')),
        h('h1', {}, name),
        h('p', { class: 'status' },
            h('span', { class: `pill ${checks.length === 0 ? '' : good ? 'good' : 'bad'}`, id: 'verdict' },
                checks.length ? [h('span', { 'aria-hidden': 'true' }, good ? '✓' : '✕'), ` ${passed} of ${checks.length} checks passed`] : 'no checks'),
            h('span', { class: `pill ${result.ended === 'finished' ? '' : 'bad'}` }, ENDINGS[result.ended] ?? String(result.ended ?? 'unknown end')),
            ...Object.entries(result.parameters ?? {}).slice(0, 8).map(([key, value]) => h('span', { class: 'pill' }, `${key} = ${value}`))),
        h('dl', { class: 'facts' },
            fact('simulated', h('span', { title: `${grouped(result.sim_time_ps ?? 0)} ps` }, time(result.sim_time_ps ?? 0))),
            fact('seed', String(result.seed ?? '')),
            fact('host', result.host ? `${result.host.cores} cores, ${bytes(result.host.memory_bytes)}` : 'none'),
            fact('partitions', grouped(Object.keys(result.partitions ?? {}).length)),
            fact('instructions', h('span', { title: grouped(result.instructions ?? 0) }, compact(result.instructions ?? 0))),
            result.wall_s === undefined ? null : fact('wall time', `${result.wall_s} s`),
            fact('trace hash', h('code', { id: 'hash' }, hash), ' ', copy)));
}

function busy_of(result) {
    const busy = new Map();
    for (const row of cpu_rows(result.cpu ?? {}, result.variants ?? [])) {
        const idle = Number(row.causes.idle ?? 0);
        busy.set(row.variant, (busy.get(row.variant) ?? 0) + (row.window - idle) / row.window);
    }
    return busy;
}

// Rows of the comparison: {name, better: which way is good, cells: variant -> {text, value, number}}.
function comparison(result, workload) {
    const pick = (section) => by_variant(result, section).filter((entry) => entry.workload === workload);
    const row = (name, better, entries, value, text) => ({
        name, better, cells: new Map(entries.filter((entry) => value(entry) !== undefined).map((entry) => [entry.variant, { text: text(value(entry)), value: String(value(entry)), number: Number(value(entry)) }])),
    });
    const latency = pick('latency');
    const throughput = pick('throughput');
    return [
        ...['50', '99', '99.9', '99.99'].map((p) => row(`latency p${p}`, 'low', latency, ({ value }) => value.percentiles?.[p], time)),
        row('throughput', 'high', throughput.filter(({ value }) => value.bits_per_second), ({ value }) => value.bits_per_second, bit_rate),
        row('rate', 'high', throughput.filter(({ value }) => value.per_second), ({ value }) => value.per_second, rate),
    ].filter((one) => one.cells.size);
}

// A figure with a bar under it, in proportion to the row's largest. One alone needs no bar.
const meter = (text, share, index, of) => (of < 2 ? text : h('span', { class: 'meter', style: `--share:${share.toFixed(4)};--colour:var(--series-${index % 7})` }, h('span', {}, text)));

export function summary_section(result) {
    const sections = ['latency', 'throughput'].map((section) => by_variant(result, section)).flat();
    if (!sections.length) return null;
    const busy = busy_of(result);
    const blocks = workloads(sections).map((workload) => {
        const rows = comparison(result, workload);
        const variants = [...new Set(sections.filter((entry) => entry.workload === workload).map((entry) => entry.variant))];
        const body = rows.map(({ name, better, cells }) => {
            const numbers = [...cells.values()].map((cell) => cell.number);
            const best = better === 'low' ? Math.min(...numbers) : Math.max(...numbers);
            const most = Math.max(...numbers) || 1;
            return [{ text: h('span', {}, name.startsWith('latency ') && h('span', { class: 'wide-only' }, 'latency '), name.replace('latency ', '')) }, ...variants.map((variant) => {
                const cell = cells.get(variant);
                if (!cell) return '\u2013';
                const is_best = cell.number === best && cells.size > 1;
                return {
                    value: cell.value, class: is_best ? 'best' : null, title: `${grouped(cell.value)}${is_best ? ', the best' : ''}`,
                    text: meter(cell.text, cell.number / most, variant_index(result, variant), variants.length),
                };
            })];
        });
        return h('div', { class: 'card' }, h('h3', {}, workload),
            table(['', ...variants.map(variant_name)], body, { class: 'numbers compare', label: `Variants at ${workload}` }));
    });
    const find = (entries, variant) => entries.find((entry) => entry.variant === variant);
    const attribution = by_variant(result, 'attribution');
    const first = attribution[0]?.workload;
    const of_first = attribution.filter((entry) => entry.workload === first);
    const last = of_first.at(-1);
    const findings = of_first.slice(0, -1).reverse().map((entry) =>
        h('p', { class: 'finding' }, finding(differences(entry.value, find(of_first, last.variant).value), [variant_name(entry.variant), variant_name(last.variant)])));
    const load = busy.size && h('div', { class: 'card' }, h('h3', {}, 'Processors kept busy'),
        table(['', ...[...busy.keys()].map(variant_name)], [
            ['processors, of ' + cpu_rows(result.cpu, result.variants ?? []).filter((row) => row.variant === [...busy.keys()][0]).length, ...[...busy].map(([variant, number]) => {
                const most = Math.max(...busy.values()) || 1;
                return { text: meter(number.toFixed(2), number / most, variant_index(result, variant), busy.size) };
            })],
        ], { class: 'numbers compare', label: 'Processors kept busy' }));
    return [findings, h('div', { class: 'columns' }, blocks, load)];
}

export function checks_section(result) {
    const checks = result.checks ?? [];
    if (!checks.length) return null;
    return h('ol', { class: 'checks card' }, checks.map((check) => h('li', { class: check.passed ? 'good' : 'bad' },
        h('span', { class: 'mark', 'aria-hidden': 'true' }, check.passed ? '✓' : '✕'),
        h('div', {}, h('strong', {}, h('span', { class: 'sr' }, check.passed ? 'passed: ' : 'failed: '), check.name), check.detail && h('p', {}, check.detail)))));
}

export function setup_section(result) {
    const host = result.host;
    const pairs = (entries, heads, label) => table(heads, entries.map(([key, value, title]) => [key, { text: String(value), title }]), { class: 'pairs', label });
    const left = [
        h('div', { class: 'card' }, h('h3', {}, 'Parameters'),
            Object.keys(result.parameters ?? {}).length ? pairs(Object.entries(result.parameters), ['parameter', 'value'], 'Parameters') : h('p', { class: 'empty' }, 'The scenario declares none.')),
    ];
    const right = h('div', { class: 'card' }, h('h3', {}, 'Reproduce it'), pairs([
            ['scenario', result.scenario], ['seed', result.seed], ['version', result.version], ['trace hash', result.trace_hash], ['simulated', `${grouped(result.sim_time_ps ?? 0)} ps`],
            ['instructions', grouped(result.instructions ?? 0)],
            ...(host ? [['cores', host.cores], ['memory', bytes(host.memory_bytes)], ['profile', host.profile], ['fidelity', host.fidelity], ['quantum', time(host.quantum_ps)]] : []),
    ], ['', ''], 'What it takes to reproduce the run'));
    const partitions = Object.entries(result.partitions ?? {});
    if (partitions.length) {
        left.push(h('div', { class: 'card' }, h('h3', {}, 'Partitions'),
            table(['partition', 'state', 'exit code', 'instructions'], partitions.map(([name, one]) => [
                name, one.state + (one.crash_message ? `: ${one.crash_message}` : ''), String(one.exit_code ?? ''), { text: grouped(one.instructions ?? 0), value: String(one.instructions ?? 0) }]), { label: 'Partitions', tall: true })));
    }
    return h('div', { class: 'columns' }, h('div', {}, left), right);
}
