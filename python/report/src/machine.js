// The machine as a diagram: partitions stand on the hypervisor; below it, from left to right, the way from the virtual switch
// through the adapter and the wire to the peers. A virtual function is a line that passes through the hypervisor.
import { h, svg } from './dom.js';
import { grouped } from './format.js';

// Where a kind of node belongs. Columns of the lower row are in this order.
const KINDS = {
    root: 'top', partition: 'top', guest: 'top', child: 'top', hypervisor: 'bar',
    virtual_switch: 'switch', switch: 'switch', disk: 'switch', root_complex: 'pci', pci: 'pci', iommu: 'pci', adapter: 'nic', nic: 'nic', pf: 'nic', vf: 'vf',
    cable: 'wire', link: 'wire', wire: 'wire', network: 'peer', peer: 'peer',
};
const STYLES = { guest: 'partition', child: 'partition', virtual_switch: 'switch', adapter: 'nic', pf: 'nic', vf: 'nic' };
const COLUMNS = ['switch', 'pci', 'nic', 'vf', 'wire', 'peer'];
const BOX = { width: 132, height: 46, gap: 22, aside: 64, stack: 16 };
// Beside a column, where lines pass to its lower boxes.
const GUTTER = { first: 6, step: 8 };
// More nodes of a kind than this are drawn as one stack.
const MANY = 9;

export function machine_of(result) {
    if (result.machine?.nodes?.length) return { ...result.machine, derived: false };
    if (!result.host) return null;
    const names = Object.keys(result.partitions ?? {});
    return {
        derived: true, edges: [],
        nodes: [
            { id: 'root', kind: 'root', label: 'root partition' }, ...names.map((name) => ({ id: `p.${name}`, kind: 'partition', label: name })),
            { id: 'hypervisor', kind: 'hypervisor', label: `hypervisor on ${result.host.cores} processors` },
        ],
    };
}

// Many alike become one node, so that a thousand partitions still make a picture. One that has a line of its own kind stays.
function gathered({ nodes, edges }) {
    const kinds = new Map();
    for (const node of nodes) kinds.set(node.kind, [...(kinds.get(node.kind) ?? []), node]);
    const stand_in = new Map();
    const kept = [];
    for (const [kind, members] of kinds) {
        const lines = (node) => edges.filter((edge) => edge.from === node.id || edge.to === node.id).length;
        const most = members.length > MANY ? [...members].sort((a, b) => lines(b) - lines(a)).slice(0, 3) : members;
        const rest = members.filter((node) => !most.includes(node));
        kept.push(...members.filter((node) => most.includes(node)));
        most.forEach((node) => stand_in.set(node.id, node.id));
        if (rest.length) kept.push({ id: `other ${kind}`, kind, label: `${grouped(rest.length)} more`, stacked: true });
        rest.forEach((node) => stand_in.set(node.id, `other ${kind}`));
    }
    const seen = new Set();
    // Lines of those that are gathered are one: their numbers go.
    const label_of = (edge) => ([edge.from, edge.to].some((id) => stand_in.get(id) !== id) ? String(edge.label ?? '').replace(/\s*\d+$/, '') : edge.label);
    const joined = edges.map((edge) => ({ ...edge, label: label_of(edge), from: stand_in.get(edge.from), to: stand_in.get(edge.to) })).filter((edge) => {
        const key = `${edge.from} ${edge.to} ${edge.label}`;
        return edge.from && edge.to && edge.from !== edge.to && !seen.has(key) && seen.add(key);
    });
    return { nodes: kept, edges: joined };
}

const place_of = (node) => KINDS[node.kind] ?? 'pci';

function laid_out({ nodes, edges }) {
    const items = nodes.map((node) => ({ ...node, place: place_of(node), width: Math.max(BOX.width, 28 + 7.6 * String(node.label ?? node.id).length) }));
    const by_id = new Map(items.map((item) => [item.id, item]));
    const lines = edges.map((edge) => ({ ...edge, a: by_id.get(edge.from), b: by_id.get(edge.to) }));
    const top = items.filter((item) => item.place === 'top').sort((a, b) => (b.kind === 'root') - (a.kind === 'root'));
    const bars = items.filter((item) => item.place === 'bar');
    const columns = COLUMNS.map((name) => items.filter((item) => item.place === name)).filter((list) => list.length);
    const column_width = (list) => Math.max(...list.map((item) => item.width));
    const natural = (widths, gap) => widths.reduce((sum, width) => sum + width, 0) + gap * Math.max(0, widths.length - 1);
    const width = Math.max(natural(top.map((item) => item.width), BOX.gap), natural(columns.map(column_width), BOX.aside), 420);
    // Spread over the width; a row that would be loose keeps its largest gap.
    const spread = (widths, gap, put) => {
        const free = widths.length > 1 ? Math.min((width - natural(widths, 0)) / (widths.length - 1), gap * 2.6) : 0;
        let x = (width - natural(widths, free)) / 2;
        widths.forEach((one, index) => {
            put(index, x + one / 2);
            x += one + free;
        });
    };
    const arcs = lines.filter(({ a, b }) => a.place === 'top' && b.place === 'top');
    const top_y = 8 + (arcs.length ? 16 + 13 * Math.min(arcs.length, 5) : 0) + BOX.height / 2;
    spread(top.map((item) => item.width), BOX.gap, (index, x) => Object.assign(top[index], { x, y: top_y }));
    const bar_y = top_y + (top.length ? BOX.height + 14 : 0);
    bars.forEach((bar, index) => Object.assign(bar, { width: width / bars.length - (bars.length > 1 ? 12 : 0), x: (width / bars.length) * (index + 0.5), y: bar_y }));
    const low_y = bar_y + (bars.length ? BOX.height + 62 : 0);
    spread(columns.map(column_width), BOX.aside, (index, x) => columns[index].forEach((item, level) => {
        const beside = x - column_width(columns[index]) / 2 - GUTTER.first - level * GUTTER.step;
        Object.assign(item, { x, y: low_y + level * (BOX.height + BOX.stack), level, beside, above: low_y });
    }));
    const height = Math.max(...items.map((item) => item.y)) + BOX.height / 2 + 10;
    return { items, lines, width, height, single_bar: bars.length === 1 };
}

function path_of({ a, b }, arc_index) {
    const half = BOX.height / 2;
    if (a.place === 'top' && b.place === 'top') {
        const lift = 24 + 13 * Math.min(arc_index, 4);
        const y = a.y - half;
        return { d: `M${a.x},${y} C${a.x},${y - lift} ${b.x},${y - lift} ${b.x},${y}`, at: [(a.x + b.x) / 2, y - lift * 0.75] };
    }
    const [upper, lower] = a.y <= b.y ? [a, b] : [b, a];
    if (upper.y === lower.y || upper.place !== 'top' && upper.place !== 'bar' && upper.x !== lower.x) {
        const [left, right] = a.x < b.x ? [a, b] : [b, a];
        const [x0, x1] = [left.x + left.width / 2, right.x - right.width / 2];
        const bend = (x1 - x0) / 2;
        return { d: `M${x0},${left.y} C${x0 + bend},${left.y} ${x1 - bend},${right.y} ${x1},${right.y}`, at: [(x0 + x1) / 2, (left.y + right.y) / 2 - 9] };
    }
    // Downwards: straight through the hypervisor, then to the node. Lines of one node leave side by side.
    const x0 = Math.abs(upper.x - lower.x) < upper.width / 2 - 12 ? lower.x : upper.x;
    const [y0, y1] = [upper.y + half, lower.y - half];
    const through = upper.place === 'top' ? y0 + BOX.height + 16 : y0;
    const middle = Math.min(through, (lower.above ?? lower.y) - half - 20);
    if (lower.level > 0) {
        // To the side of a box that stands below others of its column.
        const [x, y, turn] = [lower.beside, lower.y - 10, lower.above - half - 6];
        const half_way = (turn - middle) / 2;
        return { d: `M${x0},${y0} L${x0},${middle} C${x0},${middle + half_way} ${x},${turn - half_way} ${x},${turn} L${x},${y} L${lower.x - lower.width / 2},${y}`, at: [(x0 + x) / 2, middle + half_way + 4] };
    }
    const bend = (y1 - middle) / 2;
    return { d: `M${x0},${y0} L${x0},${middle} C${x0},${middle + bend} ${lower.x},${y1 - bend} ${lower.x},${y1}`, at: [(x0 + lower.x) / 2, middle + bend + 4] };
}

function drawing(machine) {
    const { items, lines, width, height, single_bar } = laid_out(gathered(machine));
    const margin = Math.max(12, 4 - Math.min(0, ...items.filter(({ level }) => level > 0).map(({ beside }) => beside)));
    // A partition stands on the only hypervisor: no line needs to say so.
    const drawn = lines.filter(({ a, b }) => !(single_bar && [a.place, b.place].includes('bar') && [a.place, b.place].includes('top')));
    const labels_of_arcs = new Set(drawn.filter(({ a, b }) => a.place === 'top' && b.place === 'top').map((line) => line.label));
    let arcs = 0;
    const links = drawn.map((line) => {
        const arc = line.a.place === 'top' && line.b.place === 'top';
        const first = arcs === 0;
        const path = path_of(line, arc ? arcs++ : 0);
        return { ...path, line, label: arc && labels_of_arcs.size === 1 && !first ? '' : line.label, vf: [line.a.place, line.b.place].includes('top') && /\bvf\b/i.test(line.label ?? '') };
    });
    // Where lines pass through the hypervisor.
    const crossings = links.filter(({ line }) => line.a.place === 'top' !== (line.b.place === 'top')).map(({ d }) => Number(/^M([-\d.]+)/.exec(d)[1]));
    const box = (item) => {
        const rect = (dx, dy) => svg('rect', { x: item.x - item.width / 2 + dx, y: item.y - BOX.height / 2 + dy, width: item.width, height: BOX.height, rx: 9, class: `box ${STYLES[item.kind] ?? item.kind}` });
        return svg('g', { class: 'node', 'data-node': item.id }, item.stacked && [rect(7, -7), rect(3.5, -3.5)], rect(0, 0));
    };
    const name = (item) => {
        const bar = item.place === 'bar';
        const at = { x: bar ? free_place(item, crossings) : item.x, style: bar ? 'text-anchor:start' : null };
        return svg('g', {}, svg('text', { ...at, y: item.y - 2, class: 'name' }, item.label ?? item.id), svg('text', { ...at, y: item.y + 14, class: 'kind' }, String(item.kind ?? '').replaceAll('_', ' ')));
    };
    return svg('svg', { viewBox: `${-margin} 0 ${width + 2 * margin} ${height}`, width: width + 2 * margin, height, style: `min-width:${Math.min(width, 640)}px`, class: 'machine', role: 'img', 'aria-label': 'Diagram of the machine' },
        items.filter((item) => item.place === 'bar').map(box),
        links.map(({ line, d, vf }) => svg('path', { d, class: `edge${vf ? ' vf' : ''}`, 'data-edge': `${line.from} ${line.to}` })),
        items.filter((item) => item.place !== 'bar').map(box), items.map(name),
        links.filter(({ label }) => label).map(({ label, at }) => svg('text', { x: at[0], y: at[1], class: 'link' }, label)));
}

// The first place in a bar, from the left, where its text is crossed by no line.
function free_place(bar, crossings) {
    const [left, right] = [bar.x - bar.width / 2 + 14, bar.x + bar.width / 2 - 14];
    const room = 8 * String(bar.label ?? bar.id).length;
    const starts = [left, ...crossings.filter((x) => x > left).map((x) => x + 10).sort((a, b) => a - b)];
    return starts.find((x) => x + room <= right && !crossings.some((line) => line > x - 6 && line < x + room)) ?? left;
}

export function machine_section(result) {
    const machine = machine_of(result);
    if (!machine) return null;
    return h('figure', { class: 'card' }, h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Diagram of the machine' }, drawing(machine)),
        machine.derived && h('p', { class: 'note' }, 'Drawn from the host and its partitions; this run wrote no more about its machine.'));
}
