// Where a running program and the host meet. The program says which tokens it chose; the
// host, which may come next. So a program takes many steps, though the host looks at each.

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace gemma {
namespace {

namespace ffi = xla::ffi;
using Words = ffi::Buffer<ffi::U32>;
using Integers = ffi::Buffer<ffi::S32>;
using Flags = ffi::Buffer<ffi::PRED>;
using Milliseconds = std::chrono::milliseconds;

// A program that hears nothing for so long ends, and is called again once there is
// something to hear: one that waited on would hold a thread that others may need.
constexpr Milliseconds kPatience{100};

// What the host says to all rows: which tokens may come, and which rows go on.
struct Reply {
  std::vector<uint32_t> allowed;
  std::vector<uint8_t> active;
};

class Exchange {
 public:
  void Say(Reply reply) {
    const std::lock_guard lock(mutex_);
    reply_ = std::move(reply);
    has_reply_ = true;
    speaker_ = std::this_thread::get_id();
    changed_.notify_all();
  }

  // Returns whether a reply came.
  bool Hear(Reply& reply) {
    std::unique_lock lock(mutex_);
    // JAX runs small programs within the call: nobody else would say anything.
    const bool is_alone = speaker_ == std::this_thread::get_id();
    changed_.wait_for(lock, is_alone ? Milliseconds(0) : kPatience,
                      [&] { return has_reply_ || is_closed_; });
    if (!has_reply_ || is_closed_) return false;
    has_reply_ = false;
    reply = std::move(reply_);
    return true;
  }

  void HandOver(const int32_t* tokens, int64_t count) {
    const std::lock_guard lock(mutex_);
    tokens_.assign(tokens, tokens + count);
    changed_.notify_all();
  }

  // Returns whether tokens came in time.
  bool Take(int32_t* tokens, Milliseconds timeout) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, timeout, [&] { return !tokens_.empty(); })) return false;
    std::memcpy(tokens, tokens_.data(), tokens_.size() * sizeof(int32_t));
    tokens_.clear();
    return true;
  }

  void Close() {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Reply reply_;
  std::vector<int32_t> tokens_;  // none: nothing was handed over
  bool has_reply_ = false, is_closed_ = false;
  std::thread::id speaker_;  // the host's
};

// All that are open, by their keys. Programs may outlive them.
class Exchanges {
 public:
  int32_t Open() {
    const std::lock_guard lock(mutex_);
    open_[++last_key_] = std::make_shared<Exchange>();
    return last_key_;
  }

  // Null if there is none.
  std::shared_ptr<Exchange> Find(int32_t key) {
    const std::lock_guard lock(mutex_);
    const auto found = open_.find(key);
    return found == open_.end() ? nullptr : found->second;
  }

  void Close(int32_t key) {
    const std::shared_ptr<Exchange> exchange = Find(key);
    if (exchange == nullptr) return;
    exchange->Close();
    const std::lock_guard lock(mutex_);
    open_.erase(key);
  }

 private:
  std::mutex mutex_;
  std::map<int32_t, std::shared_ptr<Exchange>> open_;
  int32_t last_key_ = 0;
};

Exchanges& AllExchanges() {
  static Exchanges* const exchanges = new Exchanges;  // programs may outlive main()
  return *exchanges;
}

// Axes: B rows, W words of 32 tokens.
//
// x: what is computed before this, any shape; may_come: uint32 [B, W] and goes_on: bool [B],
// what is returned where key, int32 [], is 0; allowed, active: the host's; came: bool [],
// whether it said anything.
ffi::Error AwaitReply(ffi::AnyBuffer, Words may_come, Flags goes_on, Integers key,
                      ffi::Result<Words> allowed, ffi::Result<Flags> active,
                      ffi::Result<Flags> came) {
  uint32_t* words = allowed->typed_data();
  bool* rows = active->typed_data();
  std::memcpy(words, may_come.typed_data(), may_come.size_bytes());
  std::memcpy(rows, goes_on.typed_data(), goes_on.size_bytes());
  *came->typed_data() = true;
  if (*key.typed_data() == 0) return ffi::Error::Success();
  const std::shared_ptr<Exchange> exchange = AllExchanges().Find(*key.typed_data());
  Reply reply;
  if (exchange == nullptr || !exchange->Hear(reply)) {
    *came->typed_data() = false;
    return ffi::Error::Success();
  }
  if (reply.allowed.size() != may_come.element_count() ||
      reply.active.size() != goes_on.element_count()) {
    return ffi::Error::InvalidArgument("a reply for other rows");
  }
  std::memcpy(words, reply.allowed.data(), may_come.size_bytes());
  std::memcpy(rows, reply.active.data(), goes_on.size_bytes());
  return ffi::Error::Success();
}

// tokens, out: int32 [B]; came: bool [], whether they were chosen after a reply; key: int32 [].
ffi::Error HandOver(Integers tokens, Flags came, Integers key, ffi::Result<Integers> out) {
  std::memcpy(out->typed_data(), tokens.typed_data(), tokens.size_bytes());
  const std::shared_ptr<Exchange> exchange = AllExchanges().Find(*key.typed_data());
  if (exchange != nullptr && *came.typed_data()) {
    exchange->HandOver(tokens.typed_data(), tokens.element_count());
  }
  return ffi::Error::Success();
}

}  // namespace
}  // namespace gemma

XLA_FFI_DEFINE_HANDLER_SYMBOL(gemma_await_reply, gemma::AwaitReply,
                              xla::ffi::Ffi::Bind()
                                  .Arg<xla::ffi::AnyBuffer>()
                                  .Arg<gemma::Words>()
                                  .Arg<gemma::Flags>()
                                  .Arg<gemma::Integers>()
                                  .Ret<gemma::Words>()
                                  .Ret<gemma::Flags>()
                                  .Ret<gemma::Flags>());

XLA_FFI_DEFINE_HANDLER_SYMBOL(gemma_hand_over, gemma::HandOver,
                              xla::ffi::Ffi::Bind()
                                  .Arg<gemma::Integers>()
                                  .Arg<gemma::Flags>()
                                  .Arg<gemma::Integers>()
                                  .Ret<gemma::Integers>());

#define GEMMA_EXPORT extern "C" __attribute__((visibility("default")))

GEMMA_EXPORT int32_t gemma_open_exchange() { return gemma::AllExchanges().Open(); }

GEMMA_EXPORT void gemma_close_exchange(int32_t key) { gemma::AllExchanges().Close(key); }

// allowed: [words], of all rows; active: [rows].
GEMMA_EXPORT void gemma_say(int32_t key, const uint32_t* allowed, int64_t words,
                            const uint8_t* active, int64_t rows) {
  const auto exchange = gemma::AllExchanges().Find(key);
  if (exchange == nullptr) return;
  exchange->Say({{allowed, allowed + words}, {active, active + rows}});
}

// Returns whether tokens, [rows], came in time.
GEMMA_EXPORT bool gemma_take_tokens(int32_t key, int64_t timeout_ms, int32_t* tokens) {
  const auto exchange = gemma::AllExchanges().Find(key);
  return exchange != nullptr &&
         exchange->Take(tokens, std::chrono::milliseconds(timeout_ms));
}
