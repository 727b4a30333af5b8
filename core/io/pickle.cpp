#include "core/io/pickle.h"

#include <bit>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "core/error.h"
#include "core/printable.h"

namespace generous {
namespace {

using Value = PickleValue;
constexpr std::size_t max_values = 1'000'000;

/// The opcodes of plain data. What they do: the reader's `apply`.
enum class Op : unsigned char {
  mark = '(',
  stop = '.',
  pop = '0',
  pop_mark = '1',
  none = 'N',
  binint = 'J',
  binint1 = 'K',
  binint2 = 'M',
  long1 = 0x8a,
  binfloat = 'G',
  new_true = 0x88,
  new_false = 0x89,
  binstring = 'T',
  short_binstring = 'U',
  binunicode = 'X',
  short_binunicode = 0x8c,
  binunicode8 = 0x8d,
  short_binbytes = 'C',
  binbytes = 'B',
  empty_list = ']',
  append = 'a',
  appends = 'e',
  empty_tuple = ')',
  tuple = 't',
  tuple1 = 0x85,
  tuple2 = 0x86,
  tuple3 = 0x87,
  empty_dict = '}',
  setitem = 's',
  setitems = 'u',
  global = 'c',
  stack_global = 0x93,
  reduce = 'R',
  newobj = 0x81,
  build = 'b',
  binpersid = 'Q',
  binput = 'q',
  long_binput = 'r',
  memoize = 0x94,
  binget = 'h',
  long_binget = 'j',
  proto = 0x80,
  frame = 0x95,
};

/// The machine that a pickle is a program for: a stack of values, marks in it, and a memo of values by
/// number.
class Reader {
 public:
  Reader(std::string_view bytes, const std::string& where, const Pickle::Allowed& allowed,
         std::deque<Value>& values)
      : bytes_(bytes), where_(where), allowed_(allowed), values_(values) {}

  const Value* run() {
    while (true) {
      const auto op = static_cast<Op>(number<unsigned char>());
      if (op == Op::stop) break;
      apply(op);
    }
    Value* root = pop();
    if (!stack_.empty()) damaged("objects are left over at its end");
    return root;
  }
  std::size_t position() const { return position_; }

 private:
  template <class... Args>
  [[noreturn]] void damaged(fmt::format_string<Args...> format, const Args&... args) const {
    fail("{}: damaged pickle at byte {}: {}", where_, position_,
         fmt::vformat(format, fmt::make_format_args(args...)));
  }

  std::string_view take(std::uint64_t count) {
    if (count > bytes_.size() - position_) damaged("it ends early");
    const std::string_view taken = bytes_.substr(position_, count);
    position_ += count;
    return taken;
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::string line() {
    const std::size_t end = bytes_.find('\n', position_);
    if (end == std::string_view::npos) damaged("it ends early");
    const std::string text(take(end - position_));
    take(1);
    return text;
  }
  /// Little-endian two's complement of so many bytes.
  Value long_integer(std::size_t count) {
    const std::string_view digits = take(count);
    if (count > sizeof(std::int64_t)) return {std::string(digits)};  // such as a format's magic number
    std::uint64_t value = count > 0 && (digits.back() & 0x80) != 0 ? ~std::uint64_t{0} : 0;
    std::memcpy(&value, digits.data(), count);
    return {static_cast<std::int64_t>(value)};
  }
  double big_endian_double() { return std::bit_cast<double>(__builtin_bswap64(number<std::uint64_t>())); }

  Value* push(Value value) {
    if (values_.size() == max_values) fail("{}: its pickle has more than {} objects", where_, max_values);
    values_.push_back(std::move(value));
    stack_.push_back(&values_.back());
    return stack_.back();
  }
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  Value* pop() {
    if (stack_.size() <= floor()) damaged("it takes an object where there is none");
    Value* top = stack_.back();
    stack_.pop_back();
    return top;
  }
  Value::Items pop_items(std::size_t count) {
    Value::Items items(count);
    for (std::size_t i = count; i-- > 0;) items[i] = pop();
    return items;
  }
  Value::Items pop_to_mark() {
    if (marks_.empty()) damaged("it goes back to a mark where there is none");
    Value::Items items = pop_items(stack_.size() - marks_.back());
    marks_.pop_back();
    return items;
  }

  void remember(std::uint64_t key) {
    if (stack_.size() <= floor()) damaged("it remembers an object where there is none");
    memo_[key] = stack_.back();
  }
  void recall(std::uint64_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) damaged("it recalls object {}, which is not there", key);
    stack_.push_back(found->second);
  }

  void push_global(std::string module, std::string name) {
    // Python 2 wrote the names that it had.
    if (module == "__builtin__") module = "builtins";
    Value::Global global{std::move(module), std::move(name)};
    if (!allowed_(global))
      fail(
          "{}: holds a Python object of {}; only tensors and plain data are read, such as a model's "
          "state_dict()",
          where_, printable(global.str()));
    push({std::move(global)});
  }
  void push_object(const Value* callable, const Value* arguments) {
    const auto* global = callable->as<Value::Global>();
    const auto* tuple = arguments->as<Value::Tuple>();
    if (global == nullptr || tuple == nullptr) damaged("it makes an object of what is no class");
    push({Value::Object{*global, tuple->items, {}, nullptr}});
  }
  void append(const Value::Items& items) {
    if (stack_.size() <= floor()) damaged("it appends to nothing");
    auto* list = std::get_if<Value::List>(&stack_.back()->is);
    if (list == nullptr) damaged("it appends to what is no list");
    list->items.insert(list->items.end(), items.begin(), items.end());
  }
  void set(const Value::Items& items) {
    if (stack_.size() <= floor()) damaged("it sets items of nothing");
    Value::Dict* dict = std::get_if<Value::Dict>(&stack_.back()->is);
    if (auto* object = std::get_if<Value::Object>(&stack_.back()->is)) dict = &object->content;
    if (dict == nullptr || items.size() % 2 != 0) damaged("it sets items of what is no dictionary");
    for (std::size_t i = 0; i < items.size(); i += 2) dict->items.emplace_back(items[i], items[i + 1]);
  }

  void apply(Op op);

  std::string_view bytes_;
  std::size_t position_ = 0;
  const std::string& where_;
  const Pickle::Allowed& allowed_;
  std::deque<Value>& values_;
  std::vector<Value*> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, Value*> memo_;
};

void Reader::apply(Op op) {
  switch (op) {
    case Op::proto:
      if (const auto protocol = number<std::uint8_t>(); protocol < 2 || protocol > 4)
        damaged("protocol {}, expected 2 to 4", protocol);
      return;
    case Op::frame:
      number<std::uint64_t>();
      return;
    case Op::mark:
      marks_.push_back(stack_.size());
      return;
    case Op::pop:
      pop();
      return;
    case Op::pop_mark:
      pop_to_mark();
      return;
    case Op::none:
      push({Value::None{}});
      return;
    case Op::new_true:
    case Op::new_false:
      push({op == Op::new_true});
      return;
    case Op::binint:
      push({std::int64_t{number<std::int32_t>()}});
      return;
    case Op::binint1:
      push({std::int64_t{number<std::uint8_t>()}});
      return;
    case Op::binint2:
      push({std::int64_t{number<std::uint16_t>()}});
      return;
    case Op::long1:
      push(long_integer(number<std::uint8_t>()));
      return;
    case Op::binfloat:
      push({big_endian_double()});
      return;
    case Op::short_binstring:
    case Op::short_binunicode:
    case Op::short_binbytes:
      push({std::string(take(number<std::uint8_t>()))});
      return;
    case Op::binstring:
    case Op::binunicode:
    case Op::binbytes:
      push({std::string(take(number<std::uint32_t>()))});
      return;
    case Op::binunicode8:
      push({std::string(take(number<std::uint64_t>()))});
      return;
    case Op::empty_list:
      push({Value::List{}});
      return;
    case Op::append:
      append(pop_items(1));
      return;
    case Op::appends:
      append(pop_to_mark());
      return;
    case Op::empty_tuple:
      push({Value::Tuple{}});
      return;
    case Op::tuple:
      push({Value::Tuple{pop_to_mark()}});
      return;
    case Op::tuple1:
    case Op::tuple2:
    case Op::tuple3:
      push(
          {Value::Tuple{pop_items(1 + static_cast<std::size_t>(op) - static_cast<std::size_t>(Op::tuple1))}});
      return;
    case Op::empty_dict:
      push({Value::Dict{}});
      return;
    case Op::setitem:
      set(pop_items(2));
      return;
    case Op::setitems:
      set(pop_to_mark());
      return;
    case Op::global: {
      std::string module = line();
      push_global(std::move(module), line());
      return;
    }
    case Op::stack_global: {
      const Value::Items names = pop_items(2);
      const auto* module = names[0]->as<std::string>();
      const auto* name = names[1]->as<std::string>();
      if (module == nullptr || name == nullptr) damaged("it names a class by what is no text");
      push_global(*module, *name);
      return;
    }
    case Op::reduce:
    case Op::newobj: {
      const Value::Items call = pop_items(2);
      push_object(call[0], call[1]);
      return;
    }
    case Op::build: {  // the attributes of an object
      const Value* state = pop();
      auto* object = stack_.size() <= floor() ? nullptr : std::get_if<Value::Object>(&stack_.back()->is);
      if (object == nullptr) damaged("it gives attributes to what is no object");
      object->state = state;
      return;
    }
    case Op::binpersid: {
      const Value* id = pop();
      push({Value::Persistent{id}});
      return;
    }
    case Op::binput:
      remember(number<std::uint8_t>());
      return;
    case Op::long_binput:
      remember(number<std::uint32_t>());
      return;
    case Op::memoize:
      remember(memo_.size());
      return;
    case Op::binget:
      recall(number<std::uint8_t>());
      return;
    case Op::long_binget:
      recall(number<std::uint32_t>());
      return;
    case Op::stop:
      break;  // run() sees it first
  }
  damaged("opcode {:#04x}, which plain data does not need", static_cast<unsigned>(op));
}

}  // namespace

const PickleValue::Dict* PickleValue::dict() const {
  if (const auto* object = as<Object>()) return &object->content;
  return as<Dict>();
}

Pickle::Pickle(std::string_view bytes, const std::string& where, const Allowed& allowed) {
  Reader reader(bytes, where, allowed, values_);
  root_ = reader.run();
  size_ = reader.position();
}

}  // namespace generous
