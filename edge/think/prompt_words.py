"""Words that say what a prompt asks for, by group, in English and Chinese: the router's lexicon.

Knows: words of one to three tokens and the group each belongs to. Does not know: what a group is worth; that is learned.
"""

from __future__ import annotations

# Words stand apart by white space, _ is a space inside one. They match in any case and as whole tokens; a Chinese
# character is a token, and every digit is a 0. A word in two groups counts in the first.
WORD_GROUPS: dict[str, str] = {
    "transform": """summarize summarise summary summaries tldr shorten condense translate translation rewrite reword
        rephrase paraphrase proofread extract classify categorize reformat headline caption transcribe highlight
        spelling grammar tone polish keywords sentiment outline gist bullet_points key_points main_idea main_points
        action_items in_one_sentence in_short title_for fix_the list_all list_the pull_out tidy_up
        总结 概括 摘要 翻译 译成 译为 改写 润色 提取 列出 归纳 分类 缩写 标题 校对 错别字 要点 大意 关键词 重写 摘录 提炼
        找出 整理 概述 转述 简述 语气 情感 扩写""",
    "look-up": """what_is what_s whats who_is who_was who_wrote when_is when_was when_did where_is where_are where_can
        weather remind reminder alarm timer play turn_on turn_off recommend directions nearest phone_number address
        open schedule book order capital_of meaning_of definition synonym spell tell_me show_me can_you do_you please
        my_account flight hotel restaurant recipe song calendar call text traffic movie
        推荐 天气 什么是 是谁 在哪 哪里 哪儿 酒店 餐馆 饭店 景点 电话 地址 地铁 评分 人均 门票 营业 帮我 告诉我 请问 介绍
        首都 意思 打开 关闭 播放 提醒 闹钟 预订 查一下 几点 附近""",
    "chat": """hello hi hey thanks thank_you good_morning good_night how_are_you you_are are_you bye goodbye sorry okay
        ok yes no lol nice great cool i_feel i_am i_m your_name joke love like_you
        你好 您好 谢谢 再见 早上好 晚安 你是 你叫 你会 你能 好的 可以 行 嗯 哈哈 笑话 喜欢 开心 抱歉 没关系 聊聊""",
    "compute": """calculate compute solve evaluate simplify how_many how_much how_long how_far how_old in_total total
        altogether remaining remain left_over are_left is_left sum_of product_of difference average mean median
        what_percent value_of the_number_of the_amount work_out figure_out number_of_ways probability_that
        the_smallest the_largest the_maximum the_minimum expression equals result_of
        计算 多少 一共 共有 总共 还剩 剩下 平均 求 解方程 等于 得数 之和 之差 结果 几个 几天 几元 几人 几米 总数 相差
        最大 最小 最多 最少 多少种 值是 的值 余数是 几小时""",
    "proof": """prove proof derive show_that if_and_only determine_all find_all for_all there_exists contradiction
        induction justify theorem lemma let_n let_x let_f let_a suppose_that suppose such_that assume_that denote
        证明 求证 推导 求所有 反证 归纳法 定理 引理 设 已知 若 使得 存在 任意 恒成立 充要 当且仅 求出 满足""",
    "constraint": """at_least at_most exactly each every only unless neither nor cannot must different distinct same
        consecutive adjacent next_to between no_two none_of all_of either not_both without except given_that
        immediately left_of right_of before after older younger taller faster
        至少 至多 恰好 每 只有 不能 必须 互不 相邻 如果 那么 除非 分别 依次 任何 不同 相同 都 其中 之间 旁边 左边 右边
        之前 之后 比 不是 而且 或者 要么 否则""",
    "relation": """twice half quarter double triple times_as times_more more_than less_than fewer as_many per percent
        increase decrease rest_of ratio rate split share equally discount interest profit tax cost costs price
        earns spends sells buys gives saved speed hour hours days weeks minutes miles pounds gallons feet
        倍 一半 增加 减少 多 少 先 再 又 后 用去 卖出 买来 运走 平均分 打折 利润 利息 单价 速度 每小时
        每天 每人 原来 现在 千米 厘米 分米 平方 吨 千克 小时 元 米""",
    "first grades": """apples birds flowers marbles cookies candies stickers friends left fly_away
        小朋友 苹果 气球 小鸟 朵 吃了 飞走 树上 小兔 铅笔 买来 借走 应找回 付了 岁 排队 一捆 盒子 盘子""",
    "middle grades": """perimeter rectangle square triangle angle average_speed metres centimeters divided remainder
        周长 长方形 正方形 面积 余数 角 三角形 平行四 梯形 速度 相距 相遇 商 除以 乘 简便 垂直 平行 平均数 照这样 植树""",
    "upper grades": """fraction volume circle radius diameter cone cylinder factor multiple ratio percentage interest
        compounded discount surface_area
        分数 小数 比例 圆 圆柱 圆锥 体积 表面积 长方体 正方体 质数 合数 因数 倍数 最小公 最大公 棱长 底面 半径 直径 百分数
        百分之 利率 存入 年利率 税 打折 折 浓度 含盐 工程 合做 单独 通分 约分 阴影 比例尺 合格率 出勤率 用方程 鸡兔""",
    "topic": """probability prime divisible divisor equation inequality polynomial quadratic root roots integer integers
        digit digits matrix vector integral derivative limit logarithm function sequence series modulo permutation
        combination graph vertex vertices coordinate parabola complex voltage velocity acceleration momentum molar
        equilibrium enthalpy circuit polygon cube sphere
        整除 方程 不等式 概率 函数 数列 追及 盈亏 数字 自然数 整数 奇数 偶数 坐标 整数解 排列 组合 向量 导数 积分 极限 矩阵
        摩擦 反应 电路 加速度 质量 摩尔""",
    "options": """a. b. c. d. e. (a) (b) (c) (d) a) b) c) d) a、 b、 c、 d、 a． b． c． d． (1) (2) (3) (4)
        （a） （b） （c） （d） ① ② ③ ④""",
    "one digit": "0",
    "two digits": "00",
    "more digits": "000 0000 00000 000000 0000000 0,000 00,000 000,000",
    "decimal": "0.0 0.00 0.000 00.0 00.00 000.0 000.00 0000.0 .0 .00",
    "parts": """0/0 00/00 0/00 00/0 000/000 0% 00% 000% 分之 百分 frac dfrac halves thirds fourths fifths 0:0 0:00
        几分""",
    "code": """python javascript java sql html css code bug debug compile regex algorithm array linked_list
        binary_tree recursion api json script loop exception stack_trace unit_test implement complexity pandas
        git docker bash rust golang database query def return import
        代码 编程 程序 算法 数组 链表 二叉树 递归 脚本 报错 正则 复杂度 接口 数据库 实现 调试""",
    "writing": """write_a write_an poem story essay email letter speech slogan tweet post blog lyrics haiku invitation
        ideas tips suggestions names_for advice brainstorm describe introduce compose draft greeting toast
        写一 诗 故事 作文 邮件 信 演讲 口号 文案 祝福 朋友圈 建议 点子 起名 描述 创作 散文 日记 发言稿""",
    "puzzle": """puzzle riddle logic logical deduce knight knights knave knaves liar lies truth seated sits sit clue
        clues weigh weighing balance_scale river boat coins hats prisoners doors optimal strategy guarantee fewest
        minimum_number sudoku crossword chess cipher pattern who_is_the which_one
        谜 推理 逻辑 说谎 真话 假话 座位 坐在 线索 称 天平 过河 帽子 囚犯 最优 策略 保证 数独 棋 密码 规律 谁""",
    "follow-up": """why how_come explain are_you_sure again really check continue go_on and_then what_about how_did_you
        what_if why_not wrong incorrect mistake another_way verify more_detail
        为什么 为何 怎么 解释 确定吗 检查 继续 然后呢 不对 错了 错误 换一种 验证 那如果 详细 真的吗 呢""",
    "number": """two three four five six seven eight nine ten eleven twelve dozen hundred thousand million one first
        second third both pair
        一 二 三 四 五 六 七 八 九 十 两 半 百 千 万 双 第 个 只""",
    "exam": """which_of the_following following is_true is_false is_correct not_true statement statements best_describes
        most_likely least_likely refers_to according_to known_as example_of caused_by because would could
        下列 以下 正确的 错误的 选项 选择 判断 填空 不正确 说法 属于 哪个 哪一 哪项""",
}


def lexicon() -> dict[str, int]:
    """Every word with the number of its group, from 1; 0 is no group."""
    found: dict[str, int] = {}
    for number, words in enumerate(WORD_GROUPS.values(), start=1):
        for word in words.split():
            found.setdefault(word.replace("_", " "), number)
    return found
