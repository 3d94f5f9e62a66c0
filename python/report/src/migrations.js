// Partitions that moved to another host: what went in each round, how long it took, and for how long the guest stood.
import { escape, figure, tip_row } from './chart.js';
import { h, table } from './dom.js';
import { axis, bit_rate, bytes, grouped, time } from './format.js';

const PAGE_BITS = 4096 * 8;

// What went in a second; what the guest wrote to in a second of a round is what the next one had to send.
function rounds_of(migration) {
    const rounds = migration.rounds ?? [];
    return rounds.map((round, index) => {
        const next = rounds[index + 1];
        const seconds = Number(round.time_ps) / 1e12;
        return {
            ...round, number: index + 1, stands: Boolean(migration.arrived) && !next,
            bandwidth: seconds ? Math.round(Number(round.bytes) * 8 / seconds) : 0,
            dirty: next && seconds ? Math.round(Number(next.pages) * PAGE_BITS / seconds) : null,
        };
    });
}

function chart(id, title, note, rounds, key, text, tick) {
    return figure({
        id, title, note,
        option: (colours, width) => ({
            grid: { left: 8, right: 24, top: 24, bottom: 8, containLabel: true },
            tooltip: {
                trigger: 'item', formatter: ({ dataIndex, color }) => {
                    const one = rounds[dataIndex];
                    return `<div>Round ${one.number}${one.stands ? ', the guest stands' : ''}</div>` + tip_row(color, title, escape(text(one[key])));
                },
            },
            xAxis: { type: 'category', data: rounds.map((one) => (one.stands ? `${one.number}*` : String(one.number))), axisTick: { show: false }, axisLabel: { color: colours.text } },
            // The first round is all memory, the last ones are little of it.
            yAxis: { type: 'log', min: (range) => 10 ** Math.floor(Math.log10(Math.max(1, range.min)) - 0.001), axisLabel: { formatter: tick } },
            series: [{
                type: 'bar', barMaxWidth: 34, data: rounds.map((one) => ({
                    value: Math.max(1, Number(one[key])), itemStyle: { color: colours.series[one.stands ? 0 : 1], borderRadius: [3, 3, 0, 0] },
                })),
                label: { show: width / rounds.length > 62, position: 'top', color: colours.text, formatter: ({ dataIndex }) => text(rounds[dataIndex][key]) },
            }],
        }),
        rows: () => [['round', 'pages', 'bytes', 'time_ps', 'guest_stands'], ...rounds.map((one) => [one.number, one.pages, one.bytes, one.time_ps, one.stands ? 1 : 0])],
        height: (width) => (width < 560 ? 240 : 280),
    }).element;
}

const exact = (value, text) => ({ value: String(value), text, class: 'number', title: String(value) });

function one_migration(migration, index) {
    const rounds = rounds_of(migration);
    const moved = Number(migration.bytes);
    const seconds = Number(migration.total_ps) / 1e12;
    const facts = [
        ['Total', migration.total_ps, time(migration.total_ps), 'from the first page to the guest\'s going on'],
        ['Blackout', migration.blackout_ps, time(migration.blackout_ps), 'the guest stood still'],
        ['Moved', migration.bytes, bytes(migration.bytes), `in ${rounds.length} rounds, ${bytes(migration.state_bytes)} of it state of processors and devices`],
        seconds > 0 && ['Bandwidth', Math.round(moved * 8 / seconds), bit_rate(moved * 8 / seconds), migration.link_bits_per_second ? `on the mean; the link has ${bit_rate(migration.link_bits_per_second)}` : 'on the mean'],
        Number(migration.revocation_ps) > 0 && ['Virtual functions', migration.revocation_ps, time(migration.revocation_ps), 'until the guest had let them go'],
    ].filter(Boolean);
    const how = migration.arrived ? `from ${migration.from} to ${migration.to}` : `from ${migration.from} to ${migration.to}, given up or not at its end: the guest stays`;
    return h('div', { class: 'migration', 'data-migration': index },
        h('div', { class: 'card' }, h('h3', {}, `${migration.partition} ${how}`),
            migration.arrived ? table(['', '', ''], facts.map(([name, value, text, note]) => [name, exact(value, text), note]), { label: `Migration of ${migration.partition}` }) : null),
        rounds.length ? h('div', { class: 'columns wide' },
            chart(`migration-${index}-pages`, 'Pages by round', migration.arrived ? '* is without the guest, and with its state. The scale is logarithmic.' : 'The scale is logarithmic.', rounds, 'pages', grouped, grouped),
            chart(`migration-${index}-time`, 'Time by round', 'While it lasts the guest writes to what the next one has to send.', rounds, 'time_ps', time, axis('ps'))) : null,
        rounds.length ? h('div', { class: 'card' }, table(['round', 'pages', 'bytes', 'time', 'bandwidth', 'written meanwhile'],
            rounds.map((one) => [`${one.number}${one.stands ? '*' : ''}`, exact(one.pages, grouped(one.pages)), exact(one.bytes, bytes(one.bytes)), exact(one.time_ps, time(one.time_ps)),
                exact(one.bandwidth, bit_rate(one.bandwidth)), one.dirty === null ? '' : exact(one.dirty, bit_rate(one.dirty))]),
            { class: 'numbers rounds', label: 'Rounds of the migration' })) : null);
}

export function migrations_section(result) {
    const migrations = result.migrations ?? [];
    return migrations.length ? migrations.map(one_migration) : null;
}
